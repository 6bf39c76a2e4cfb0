"""Checks of rows: numbers that are not finite, rows of zeros, projections that collapse."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from graphkd.diagnostics.doctor.call import Call, is_logits, spread
from graphkd.diagnostics.doctor.finding import Finding
from graphkd.diagnostics.doctor.windows import Windows
from graphkd.similarity import unit_rows

# More than this share of rows of zeros is too many.
DEAD = 0.1
# A projection spans next to nothing if its unit rows lie so close to their mean (squared distance),
# or if this many directions hold their variance, of the several that the rows had before.
POINT, LINE = 1e-3, 1.002
# Rows among which rows of zeros are counted, and from which a projection's span is computed.
_SOME, _FEW = 512, 128


class NotFinite:
    """NaN and infinity, in what goes in and in what comes out."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def see(self, call: Call) -> None:
        """Look at the inputs, then at projections, then at values: the first cause counts."""
        if self._found:
            return
        given = [*call.side("s"), *call.side("t")]
        found = [bad for label, h in given if (bad := _bad_rows(label, h, is_logits(label)))]
        if not found:
            found = [
                bad
                for p in call.projections
                if (bad := _bad_rows(f"the projection of {p.side} in {p.term}", p.projected))
            ]
        if not found:
            values = [(f"the value of {term.name}", term.value) for term in call.terms]
            values += [] if call.task_loss is None else [("task_loss", call.task_loss)]
            found = [
                f"{name} ({float(value.detach().mean())})"
                for name, value in values
                if not bool(value.detach().isfinite().all())
            ]
        self._found = [f"At step {call.step}: {'; '.join(found)}."] if found else []

    def findings(self) -> Iterator[Finding]:
        """Of the first call that had any."""
        if self._found:
            yield Finding(
                "not-finite",
                f"{self._found[0]} Gradients of this step are NaN, and so is all that they reach.",
                "Look at the tensor that is named first: if it is the teacher's, at its inputs and "
                "its checkpoint; if it is the student's, lower the learning rate, clip gradients, "
                "or look with torch.autograd.set_detect_anomaly(True) for the operation.",
            )


def _bad_rows(label: str, h: Tensor, masked: bool = False) -> str | None:
    """How many rows are not finite; in logits, −∞ is a class that is masked, and is fine."""
    h = h.detach()
    if not h.is_floating_point() or not h.numel() or _finite(h):
        return None
    bad = h.isnan() | (h == torch.inf) if masked else ~h.isfinite()
    count = int(bad.view(h.size(0), -1).any(dim=1).sum()) if h.dim() else int(bad)
    return f"{count} of {h.size(0) if h.dim() else 1} rows of {label}" if count else None


def _finite(h: Tensor) -> bool:
    """Whether all are finite, in one pass; a sum that overflows is looked at again."""
    return bool(h.sum(dtype=torch.promote_types(h.dtype, torch.float32)).isfinite())


class DeadRows:
    """Rows of zeros, which no loss that normalises can use."""

    def __init__(self) -> None:
        self._shares: dict[str, Windows] = {}
        self._before: dict[str, Tensor] = {}
        self._nodes: float | None = None

    def see(self, call: Call) -> None:
        """Count the rows of zeros of a call.

        Of the same nodes as in the look before, those count that were zero then, too: dropout
        zeroes others each time.
        """
        if not call.training:
            return
        nodes = next((float(h[:16].detach().double().sum()) for _, h in call.side("t")), None)
        same, self._nodes = nodes is not None and nodes == self._nodes, nodes
        for label, h in [*call.side("s"), *call.side("t")]:
            if is_logits(label) or h.dim() != 2 or not h.is_floating_point() or not h.numel():
                continue
            rows = spread(call.rows(label, h), _SOME)
            if not rows.numel():
                continue
            zero = rows.abs().amax(dim=1) == 0
            before = self._before.get(label)
            self._before[label] = zero
            if same and before is not None and before.shape == zero.shape:
                zero = zero & before
            share = float(zero.float().mean())
            self._shares.setdefault(label, Windows()).add(call.step, share=share)

    def findings(self) -> Iterator[Finding]:
        """The tensor with the largest share in a window."""
        worst = [(max(w.of("share"), default=0.0), label) for label, w in self._shares.items()]
        share, label = max(worst, default=(0.0, ""))
        if share > DEAD:
            yield Finding(
                "dead-rows",
                f"{share:.0%} of the rows of {label} are all zero (average over a window). A zero "
                "row has no direction: losses that normalise rows give it no gradient.",
                "Tap the layer before its ReLU, or use LeakyReLU, a wider layer or less dropout "
                "there; pass index= if the rows of some nodes were never computed.",
            )


class _Span(NamedTuple):
    """Unit rows' mean squared distance from their mean; the number of directions of variance."""

    distance: float
    directions: float


class CollapsedHead:
    """Heads that send all rows to nearly one point, or to one line."""

    def __init__(self) -> None:
        self._spans: dict[tuple[str, str], Windows] = {}

    def see(self, call: Call) -> None:
        """Measure the span of the projected rows, and of the rows before."""
        if not call.training:
            return
        for p in call.projections:
            if p.projected.dim() == 2 and p.projected.size(0) >= 8:
                distance, directions = _span(p.projected)
                if not math.isfinite(distance + directions):
                    continue
                narrow = directions < 2 and p.projected.size(1) > 1
                # Rows that were on a line before are not the head's doing.
                narrowed = float(narrow and _span(p.rows).directions > 2)
                windows = self._spans.setdefault((p.term, p.side), Windows())
                numbers = {"distance": distance, "directions": directions, "narrowed": narrowed}
                windows.add(call.step, **numbers)

    def findings(self) -> Iterator[Finding]:
        """The head with the narrowest latest window: one that starts out narrow may open up."""
        collapsed = [
            (window["distance"], window["directions"], term, side)
            for (term, side), windows in self._spans.items()
            for window in windows.means[-1:]
            if window["distance"] < POINT
            or (window["narrowed"] == 1 and window["directions"] < LINE)
        ]
        if not collapsed:
            return
        distance, directions, term, side = min(collapsed)
        spanned = (
            f"their unit rows lie within {math.sqrt(max(distance, 0)):.1e} of one point"
            if distance < POINT
            else f"{directions:.2f} directions hold their variance: they lie on a line"
        )
        yield Finding(
            "collapsed-head",
            f"The projected rows of {side} in {term} span next to nothing: {spanned} (average "
            "over a window). The loss compares rows that are all alike.",
            "If it is the teacher's head, let it not learn: both heads can meet in one point, so "
            "use a loss that projects the student alone, such as FitNetLoss(dim_s, dim_t). If it "
            "is the student's, draw it anew (loss.reset_parameters()), lower its learning rate, "
            "or look whether h_s has collapsed before it.",
        )


def _span(h: Tensor) -> _Span:
    rows = spread(h, _FEW).double()
    unit = unit_rows(rows)
    distance = float(unit.square().sum(dim=1).mean() - unit.mean(dim=0).square().sum())
    centred = rows - rows.mean(dim=0)
    gram = centred @ centred.t() if rows.size(0) < rows.size(1) else centred.t() @ centred
    largest = float(gram.diagonal().amax()) if gram.numel() else 0.0
    if not largest > 0:
        return _Span(distance, 0.0)
    gram = gram / largest
    return _Span(distance, float(gram.trace() ** 2 / gram.square().sum()))
