"""Gaps between inner products within groups of rows in their obvious form: N × N, masked."""

from torch import Tensor


def grouped_gap(x_s: Tensor, x_t: Tensor, group: Tensor) -> Tensor:
    """Σ_j (⟨s_i, s_j⟩ − ⟨t_i, t_j⟩)² over the rows j of row i's group, for every row i.

    A negative group number means that the row is in no group.
    """
    same = (group.unsqueeze(1) == group) & (group >= 0)
    gap = x_s @ x_s.T - x_t @ x_t.T
    return gap.masked_fill(~same, 0).square().sum(dim=1)
