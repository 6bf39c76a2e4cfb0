"""The check of the matching: whether the teacher's rows belong to the nodes they stand beside."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from graphkd._checks import tensors_in
from graphkd._graph_formats import source_target
from graphkd.diagnostics.doctor.call import Call, is_logits
from graphkd.diagnostics.doctor.finding import Finding
from graphkd.similarity import unit_rows

# The teacher's rows fit if one kind of evidence is so many standard deviations above random
# matchings; that of a student that has learned for up to 5 steps, or for more, must be stronger.
FITS, FITS_SOON, FITS_LATER = 4.0, 6.0, 8.0
# A student below that need not be asked again, if the run ends before it is.
CHANCE = 2.0
# Evidence has spoken after so many rows, or so many calls; it counts from the last number on.
ROWS, CALLS, LEAST_ROWS = 500, 10, {"labels": 30, "rows": 100, "logits": 100, "graph": 100}
# Rows of one test; edges that a matching is drawn from. Less than so few rows tell nothing.
_MOST, _EDGES, _LEAST = 512, 8192, 12


def matching_score(a: Tensor, b: Tensor) -> float:
    r"""How far the rows of two matrices match, in standard deviations above random matchings.

    The statistic is that of linear CKA, :math:`\langle K, L\rangle` of the centred Gram matrices
    K and L. Mean and variance over all n! matchings of the rows are exact: with
    :math:`T = \mathrm{tr} K`, :math:`T_2 = \mathrm{tr} K^2`, :math:`S_2 = \sum_i K_{ii}^2`,

    .. math::
        \mathrm{E} = \frac{T T'}{n - 1}, \qquad
        \mathrm{Var} = \frac{2 V V'}{(n-1)^2 (n+1)(n-2)} + \frac{U U'}{(n+1) n (n-1) (n-2) (n-3)}

    with :math:`V = (n-1) T_2 - T^2` and :math:`U = n(n+1) S_2 - (n-1)(T^2 + 2 T_2)`.

    Source: Kazi-Aoual, Hitier, Sabatier and Lebreton, Computational Statistics & Data Analysis
    20(6), 1995, for the RV coefficient.
    """
    n = a.size(0)
    own, other = (_centred_gram(h) for h in (a, b))
    if n < 4 or own is None or other is None:
        return 0.0
    moments = []
    for gram in (own, other):
        trace, square = float(gram.trace()), float(gram.square().sum())
        diagonal = float(gram.diagonal().square().sum())
        v = (n - 1) * square - trace**2
        u = n * (n + 1) * diagonal - (n - 1) * (trace**2 + 2 * square)
        moments.append((trace, v, u))
    (t_1, v_1, u_1), (t_2, v_2, u_2) = moments
    variance = 2 * v_1 * v_2 / ((n - 1) ** 2 * (n + 1) * (n - 2))
    variance += u_1 * u_2 / ((n + 1) * n * (n - 1) * (n - 2) * (n - 3))
    if variance <= 1e-18:
        return 0.0
    return (float((own * other).sum()) - t_1 * t_2 / (n - 1)) / math.sqrt(variance)


def _centred_gram(h: Tensor) -> Tensor | None:
    """The Gram matrix of the centred rows, with trace 1; None if they are all the same."""
    rows = h.double()
    rows = rows - rows.mean(dim=0)
    gram = rows @ rows.t()
    trace = gram.trace()
    return gram / trace if float(trace) > 0 else None


class Misaligned:
    """Compares the teacher's rows with the student's, with the labels, and along the edges.

    Labels and edges tell at any time. The student tells before it learns; if it does not, it is
    asked a few times more while it has learned little, because it may come to fit any rows that it
    is taught. Of a whole graph, the same rows again and again count once; batches add up.
    """

    def __init__(self) -> None:
        self._scores: dict[str, list[float]] = {}
        self._rows: dict[str, int] = {}
        self._seen: set[tuple[str, int, float]] = set()
        self._due = dict(_STUDENT)
        self._fits = False

    def see(self, call: Call) -> None:
        """Test the rows of a call, unless the teacher is known to fit, or all have spoken."""
        if self._fits or not call.training or (self._scores and not self._open()):
            return
        generator = torch.Generator("cpu").manual_seed(call.step)
        for evidence, a, b in _pairs_of_rows(call, generator):
            # A student moves; what it is compared with does not.
            still = a if evidence in _STUDENT else torch.cat([a[:16], b[:16].to(a.dtype)], dim=1)
            rows = evidence, a.size(0), float(still[:16].double().sum())
            again = rows in self._seen
            due = self._due.get(evidence, ())
            if not self._waits(evidence) or (again and not (due and call.step >= due[0])):
                continue
            few = _some(a, b, generator)
            if few is None:
                continue
            self._seen.add(rows)
            score = matching_score(*few)
            if again:
                self._due[evidence] = tuple(step for step in due if step > call.step)
                self._scores[evidence] = [max(score, *self._scores[evidence])]
                if few[0].size(0) >= LEAST_ROWS[evidence] // 2:
                    self._rows[evidence] += few[0].size(0)
                self._fits |= score >= (FITS_SOON if call.step <= due[0] else FITS_LATER)
                continue
            self._scores.setdefault(evidence, []).append(score)
            self._rows[evidence] = self._rows.get(evidence, 0) + few[0].size(0)
            self._fits |= self._score(evidence) >= FITS

    def _score(self, evidence: str) -> float:
        scores = self._scores[evidence]
        return sum(scores) / math.sqrt(len(scores))

    def _waits(self, evidence: str) -> bool:
        """Whether more rows of this kind are to be tested."""
        scores = self._scores.get(evidence, [])
        if len(scores) == 1 and evidence in self._due:
            return bool(self._due[evidence])  # of a whole graph; or the first batch
        return self._rows.get(evidence, 0) < ROWS and len(scores) < CALLS

    def _open(self) -> bool:
        return any(map(self._waits, self._scores))

    def findings(self) -> Iterator[Finding]:
        """What was compared, if nothing fits and all that counts has spoken."""
        enough = [e for e in self._scores if self._rows[e] >= LEAST_ROWS[e]]
        # Labels are the strongest evidence; the student may need the time that it has, but for one
        # that is as far from the teacher as chance.
        open_still = "labels" not in enough and any(
            self._waits(e) and self._score(e) > CHANCE for e in _STUDENT.keys() & self._scores
        )
        if self._fits or not enough or open_still:
            return
        seen = ", ".join(f"{self._score(e):+.1f} for {_EVIDENCE[e]}" for e in enough)
        yield Finding(
            "misaligned-rows",
            "The teacher's rows fit no better than shuffled ones. In standard deviations above "
            f"random matchings, of which {FITS:g} would do: {seen}.",
            "Row i must be one node on both sides. In a batch, take the teacher's rows by node id: "
            "h_t[batch.n_id], or graphkd.TeacherStore; and compute them on the data that the "
            "student sees, in its order.",
        )


_EVIDENCE = {
    "rows": "the student's rows before it learned much",
    "logits": "the student's logits before it learned much",
    "labels": "the labels",
    "graph": "neighbours in the graph",
}
# The steps at which the student's rows of a whole graph are tested again. Logits are fitted first:
# a student without dropout fits those of shuffled nodes by 4 after 5 steps, and by 15 after 10.
_STUDENT = {"rows": (5, 10, 20), "logits": (5,)}


def _some(a: Tensor, b: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor] | None:
    """Some of the rows, those that are finite; None if they are too few."""
    if a.size(0) > _MOST:
        drawn = torch.randperm(a.size(0), generator=generator, device="cpu")[:_MOST]
        a, b = a[drawn], b[drawn]
    finite = a.isfinite().all(dim=1) & b.isfinite().all(dim=1)
    if not bool(finite.all()):
        a, b = a[finite], b[finite]
    return (unit_rows(a.float()), b.float()) if a.size(0) >= _LEAST else None


def _pairs_of_rows(call: Call, generator: torch.Generator) -> Iterator[tuple[str, Tensor, Tensor]]:
    """The teacher's rows with what they are compared to: matrices of matching rows."""
    teachers = dict(call.side("t"))
    students = dict(call.side("s"))
    for label, h_t in teachers.items():
        if h_t.dim() != 2 or not h_t.is_floating_point():
            continue
        mine = students.get(_of_student(label))
        rows = call.rows(label, h_t)
        if mine is not None and mine.dim() == 2 and mine.size(0) == h_t.size(0):
            kind = "logits" if is_logits(label) else "rows"
            yield kind, rows, unit_rows(call.rows(label, mine).float())
        key = label.partition("[")[2].rstrip("]")
        y = _labels(call, key)
        if y is not None:
            y = call.rows(label, y) if y.size(0) == h_t.size(0) else y
            if y.size(0) == rows.size(0) and (shown := _as_rows(y)) is not None:
                known = ~shown.isnan().any(dim=1)
                yield "labels", rows[known], shown[known]
    for src, dst, edge_index in _edges(call, teachers):
        yield from _joined(src, dst, edge_index, generator)


def _of_student(label: str) -> str:
    name, bracket, rest = label.partition("[")
    return name[:-1] + "s" + bracket + rest if name in ("h_t", "z_t") else name


def _labels(call: Call, key: str) -> Tensor | None:
    y = call.y
    if isinstance(y, Mapping):
        y = next((value for name, value in y.items() if repr(name) == key), None)
    elif key and not isinstance(call.arguments.get("z_s"), Tensor):
        return None
    return y if isinstance(y, Tensor) and y.dim() in (1, 2) and y.size(0) else None


def _as_rows(y: Tensor) -> Tensor | None:
    """Labels as rows: a one-hot row for a class, NaN where it is unknown."""
    y = y.detach()
    if y.is_floating_point():
        return y.view(y.size(0), -1).float()
    if y.dim() == 2 and y.size(1) > 1:
        return y.float()
    y = y.view(-1).long()
    if not bool((y >= 0).any()) or int(y.max()) > 1000:
        return None
    return F.one_hot(y.clamp(min=0)).float().masked_fill((y < 0)[:, None], torch.nan)


def _edges(call: Call, teachers: dict[str, Tensor]) -> Iterator[tuple[Tensor, Tensor, Any]]:
    """The teacher's rows of sources and targets, with the edges between them."""
    graph = call.arguments.get("edge_index")
    if isinstance(graph, Mapping):
        h_t = call.arguments.get("h_t")
        if isinstance(h_t, Mapping):
            for key, edges in graph.items():
                ends = key[0], key[-1]
                if isinstance(key, tuple) and all(end in h_t for end in ends):
                    src, dst = ([*tensors_in(h_t[end])][-1:] for end in ends)
                    if src and dst and src[0].dim() == dst[0].dim() == 2:
                        yield src[0], dst[0], edges
    elif graph is not None:
        plain = [h for label, h in teachers.items() if h.dim() == 2]
        for h in plain[-1:]:
            yield h, h, graph


def _joined(
    src: Tensor, dst: Tensor, graph: Any, generator: torch.Generator
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """The rows at both ends of edges of which no two share a node."""
    edges = graph.edges if hasattr(graph, "edges") else None
    ends = source_target(graph, src.size(0), dst.size(0)) if edges is None else edges[:2]
    sources, targets = (e.detach() for e in ends)
    if sources.numel() > _EDGES:
        drawn = torch.randint(sources.numel(), (_EDGES,), generator=generator, device="cpu")
        sources, targets = sources[drawn], targets[drawn]
    sources, targets = sources.long(), targets.long()
    own = src is dst
    good = (sources < src.size(0)) & (targets < dst.size(0)) & (sources >= 0) & (targets >= 0)
    good &= (sources != targets) if own else good
    sources, targets = sources[good], targets[good]
    if not sources.numel():
        return
    shift = 0 if own else src.size(0)
    rank = torch.randperm(sources.numel(), generator=generator, device="cpu").to(sources.device)
    first = rank.new_full((src.size(0) + dst.size(0),), rank.numel())
    first.scatter_reduce_(0, sources, rank, "amin").scatter_reduce_(
        0, targets + shift, rank, "amin"
    )
    kept = (first[sources] == rank) & (first[targets + shift] == rank)
    rows = src.detach()[sources[kept]], dst.detach()[targets[kept]]
    yield "graph", rows[0], unit_rows(rows[1].float())
