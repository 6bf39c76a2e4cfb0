"""Checks of the terms' pulls: too weak, too strong, or against the task's."""

import math
from collections.abc import Callable, Iterator
from statistics import median_low
from typing import NamedTuple

from graphkd.diagnostics.doctor.call import Call
from graphkd.diagnostics.doctor.finding import Finding
from graphkd.diagnostics.doctor.pulls import Outer, Pull, measure
from graphkd.diagnostics.doctor.windows import Windows

# Some losses pull a thousand times harder in single steps, so that a pull dominates only if it does
# in half of the windows, by its geometric mean; it is weak if it is so even where it is strongest.
# Bounds of a term's pull in units of the task's, and of the cosine between them.
WEAK, STRONG, OPPOSED = 1e-3, 1e3, -0.2
# On the rows that the task pulls on, where few of many rows are labelled.
OPPOSED_THERE = -0.5
# Once the task has been learned, what is left of its pull and a term's balance one another, and so
# oppose. A window counts while the task pulls at least this part of its strongest window.
ALIVE = 0.5
_CALLS = 2


class _Ratio(NamedTuple):
    """A term's pull beside the task's in its strongest window."""

    ratio: float
    term: str
    pull: float
    task: float


class Gradients:
    """Keeps, term by term, the pulls over windows of the run."""

    def __init__(self) -> None:
        self.windows: dict[str, Windows] = {}
        self.places: dict[str, str] = {}
        self._looks = 0
        self._pending: tuple[int, list[Pull], Outer] | None = None

    def see(self, call: Call) -> None:
        """Measure the pulls of a call."""
        self._settle()
        # A backward pass for each term is most of the doctor's cost: half of the looks do.
        self._looks += 1
        if call.every > 1 and self._looks % 2 == 0:
            return
        if call.training and call.total is not None and call.terms:
            pulls = [pull for pull in measure(call) if pull is not None]
            self._pending = call.step, pulls, Outer(call.total, call.task_loss)

    def _settle(self) -> None:
        """Enter the latest call, whose backward pass has by now told the user's own weight."""
        if self._pending is None:
            return
        step, pulls, outer = self._pending
        self._pending = None
        factor = outer.factor
        if not factor:
            return  # a weight of 0 is meant
        sign = math.copysign(1, factor)
        for pull in pulls:
            task = math.nan if pull.task is None else pull.task
            strength = pull.norm * abs(factor) if math.isfinite(pull.norm) else math.nan
            self.places[pull.term] = pull.place
            self.windows.setdefault(pull.term, Windows(_CALLS, early=_CALLS)).add(
                step,
                term=strength,
                log_term=math.log(strength) if strength > 0 else math.nan,
                task=task if math.isfinite(task) else math.nan,
                cosine=sign * pull.cosine,
                on_task=sign * pull.on_task,
                negative=float(pull.negative != (factor < 0)),
            )

    def findings(self) -> Iterator[Finding]:
        """What was found so far."""
        self._settle()
        strongest, usual = self._ratios("term", max), self._ratios("log_term", median_low)
        weak = [r for r in strongest if r.ratio < WEAK or r.pull == 0]
        strong = [r for r in usual if r.ratio > STRONG]
        if weak:
            yield self._weak(min(weak, key=lambda r: r.pull))
        if strong:
            yield self._strong(max(strong))
        opposed = [found for term in self.windows if (found := self._opposed(term)) is not None]
        if opposed:
            yield min(opposed)[1]

    def pulls(self) -> dict[str, float]:
        """Each term's pull in its middle window, over the task's in its strongest."""
        found = {r.term: r.ratio for r in self._ratios("log_term", median_low)}
        return {term: ratio for term, ratio in found.items() if math.isfinite(ratio)}

    def _ratios(self, name: str, of: Callable[[list[float]], float]) -> list[_Ratio]:
        """Each term's pull in one of its windows, beside the task's in its strongest."""
        found = []
        for term, windows in self.windows.items():
            if pulls := windows.of(name):
                pull = math.exp(of(pulls)) if name == "log_term" else of(pulls)
                task = max(windows.of("task"), default=0.0)
                found.append(_Ratio(pull / task if task else math.nan, term, pull, task))
        return found

    def _weak(self, r: _Ratio) -> Finding:
        place = self.places[r.term]
        if r.pull == 0:
            return Finding(
                "negligible-gradient",
                f"{r.term} has no gradient at {place}: the student does not learn from it.",
                "Hand over the student's own tensors, without .detach() and not computed under "
                "torch.no_grad(), and not through an argmax; and a teacher that is not a copy of "
                "them.",
            )
        return Finding(
            "negligible-gradient",
            f"{r.term} pulls on {place} with at most {r.ratio:.1e} of the task's pull "
            f"({r.pull:.1e} and {r.task:.1e}, each on average over its strongest window).",
            f"Multiply its weight by {_nice(1 / r.ratio)}, or let the pulls decide: "
            "WeightedSum(..., balance=True), called with task_loss=.",
        )

    def _strong(self, r: _Ratio) -> Finding:
        return Finding(
            "dominant-gradient",
            f"{r.term} pulls on {self.places[r.term]} with {r.ratio:.1e} times the task's pull "
            f"({r.pull:.1e} in half of the windows, and {r.task:.1e} in the task's strongest): the "
            "labels do not count.",
            f"Divide its weight by {_nice(r.ratio)}, or let the pulls decide: "
            "WeightedSum(..., balance=True), called with task_loss=.",
        )

    def _opposed(self, term: str) -> tuple[float, Finding] | None:
        windows, place = self.windows[term], self.places[term]
        alive = ALIVE * max(windows.of("task"), default=math.inf)
        worst, where = 0.0, ""
        for window in windows.means:
            if window["negative"] == 1:
                return -1.0, _against(
                    f"{term} has a negative weight: the run drives the student away from what it "
                    f"is to learn (cosine with the task's pull at {place}: "
                    f"{window.get('cosine', math.nan):.2f})."
                )
            if window not in windows.ended or "cosine" not in window:
                continue
            if window.get("task", 0.0) < alive:
                continue
            plain, there = window["cosine"], window.get("on_task", 0.0)
            if plain < OPPOSED and plain < worst:
                worst, where = plain, place
            elif there < OPPOSED_THERE and there < worst:
                worst, where = there, f"{place} on the rows that the task pulls on"
        if not worst:
            return None
        return worst, _against(
            f"{term} pulls against the task: the cosine between their gradients at {where} is "
            f"{worst:.2f} on average over a window in which the task still has much to learn."
        )


def _against(message: str) -> Finding:
    return Finding(
        "opposing-gradient",
        message,
        "Check the sign of its weight, that the teacher's classes are in the student's order, and "
        "that its rows belong to these nodes. A term that is right and opposes needs a lower "
        "weight, or the labelled nodes left out of it: index=~train_mask.",
    )


def _nice(factor: float) -> str:
    """The nearest power of ten."""
    return f"{10 ** round(math.log10(factor)):.0e}".replace("e+0", "e").replace("e+", "e")
