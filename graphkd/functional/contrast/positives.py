"""Several positives of an anchor in G-CRD: rows of its label, or pairs.

With one positive, row i of the loss is log Σ_j exp(s_ij/τ) − s_ii/τ. With the set P(i), which holds
i itself, it is log Σ_j exp(s_ij/τ) − mean_{p∈P(i)} s_ip/τ: larger by (s_ii − mean_p s_ip)/τ.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from graphkd._checks import check_devices, check_row_ids, describe
from graphkd._precision import exact, traced
from graphkd.functional._rows import group_numbers, select_rows
from graphkd.graph import Edges, sort_edges
from graphkd.similarity import unit_rows

_INTEGERS = (torch.int32, torch.int64)
# Of so many rows, sums are float64: beyond 2**24, float32 does not notice one more.
_MANY = 2**22


class LabelPositives(NamedTuple):
    """The rows of one label are one another's positives; rows of a negative label have none."""

    loss: str
    labels: Tensor

    def select(self, index: Tensor | None) -> "LabelPositives":
        """The positives among the selected rows."""
        return LabelPositives(self.loss, select_rows(self.loss, self.labels, index))

    def gap(self, p: Tensor, q: Tensor, similarity: Callable[..., Tensor]) -> Tensor:
        """s_ii − mean_{p∈P(i)} s_ip for anchors p and keys q, from the sum of each label's keys."""
        p, q = unit_rows(p), unit_rows(q)
        group = group_numbers(self.labels)
        # One sum for each label; for a tracer, which must not look at values, one for each row.
        count = group.numel() if traced() or not group.numel() else int(group.max()) + 1
        added = exact(q) if q.size(0) > _MANY else q
        sums = added.new_zeros(count, q.size(1)).index_add(0, group, added)
        sizes = group.new_zeros(count).index_add(0, group, torch.ones_like(group))
        means = (sums / sizes.clamp(min=1)[:, None]).to(q.dtype)
        gap = torch.linalg.vecdot(p, q) - torch.linalg.vecdot(p, means.index_select(0, group))
        return torch.where(self.labels < 0, 0.0, gap)


class PairPositives(NamedTuple):
    """Given pairs of an anchor and a key, each counted once. An anchor's own key always counts."""

    loss: str
    anchor: Tensor
    key: Tensor
    holds: Tensor
    """False where a pair does not count: shapes must not depend on values."""
    rows: int

    def select(self, index: Tensor | None) -> "PairPositives":
        """The pairs among the selected rows, by their place there."""
        if index is None:
            return self
        place = self.anchor.new_full((self.rows,), -1)
        here = torch.arange(index.numel(), device=index.device)
        place = place.index_copy(0, index, here)
        if not traced() and not torch.equal(place.index_select(0, index), here):
            raise ValueError(
                f"{self.loss}: with positives=, index must name each row once; a row is named "
                "twice. Pass index.unique()."
            )
        anchor, key = place.index_select(0, self.anchor), place.index_select(0, self.key)
        holds = self.holds & (anchor >= 0) & (key >= 0)
        anchor, key = anchor.clamp(min=0), key.clamp(min=0)
        return PairPositives(self.loss, anchor, key, holds, index.numel())

    def gap(self, p: Tensor, q: Tensor, similarity: Callable[..., Tensor]) -> Tensor:
        """s_ii − mean_{p∈P(i)} s_ip for anchors p and keys q, from the similarity of each pair."""
        n = p.size(0)
        own: Tensor = torch.linalg.vecdot(unit_rows(p), unit_rows(q))
        pairs, counts = self._distinct()
        if not traced() and n == 0:
            return own
        values = similarity(q, p, pairs).masked_fill(~counts, 0)
        others = own.new_zeros(n).index_add(0, pairs.dst, values)
        number = own.new_zeros(n).index_add(0, pairs.dst, counts.to(own.dtype))
        return (number * own - others) / (number + 1)

    def _distinct(self) -> tuple[Edges, Tensor]:
        """The pairs as edges from key to anchor, and which of them are the first of their kind."""
        n = self.rows
        holds = self.holds & (self.anchor != self.key)
        code = torch.where(holds, self.anchor * n + self.key, -1).sort().values
        first = torch.ones_like(code, dtype=torch.bool)
        first[1:] = code[1:] != code[:-1]
        counts, code = first & (code >= 0), code.clamp(min=0)
        # They are sorted by anchor already, so the edges come back in this order.
        return sort_edges(code % max(n, 1), code // max(n, 1), n, n), counts


def resolve_positives(
    loss: str, labels: Tensor | None, positives: Tensor | None, like: Tensor
) -> LabelPositives | PairPositives | None:
    """The positives that the caller names, checked against the rows of ``like``, or None."""
    if labels is not None and positives is not None:
        raise ValueError(
            f"{loss}: pass labels= or positives=, not both. Join them as pairs for positives=."
        )
    if labels is not None:
        remedy = "Pass -1 for rows whose label is not known."
        several = " Of rows with several labels, pass the pairs of rows that share one: positives=."
        check_row_ids(loss, "labels", labels, like, "labels", remedy, several)
        return LabelPositives(loss, labels)
    if positives is None:
        return None
    if not isinstance(positives, Tensor) or positives.dtype not in _INTEGERS:
        raise TypeError(
            f"{loss}: positives must be an int64 tensor [2, P] of (anchor, key) pairs; got "
            f"{describe(positives)}."
        )
    if positives.dim() != 2 or positives.size(0) != 2:
        raise ValueError(
            f"{loss}: positives must have shape [2, P], anchors in row 0 and keys in row 1; got "
            f"{describe(positives)}. Transpose a [P, 2] tensor."
        )
    check_devices(loss, embeddings=like, positives=positives)
    n, (anchor, key) = like.size(0), positives.long()
    outside = (positives < 0) | (positives >= n)
    if not traced() and bool(outside.any()):
        raise IndexError(
            f"{loss}: positives names row {int(positives[outside][0])}, but there are {n} rows, "
            f"numbered from 0. Row numbers must lie in [0, {n})."
        )
    return PairPositives(loss, anchor, key, torch.ones_like(anchor, dtype=torch.bool), n)
