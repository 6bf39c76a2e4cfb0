"""The primitives of the losses on edges and clusters in their obvious form.

Differentiable by autograd to any order.
"""

from torch import Tensor

from graphkd.graph import Edges
from graphkd.similarity import KERNELS, row_statistic


def edge_squares(x: Tensor, edges: Edges) -> Tensor:
    """‖x_j − x_i‖² for every edge j → i."""
    return row_statistic(KERNELS["l2"], x.index_select(0, edges.src), x.index_select(0, edges.dst))


def grouped_gap(x_s: Tensor, x_t: Tensor, group: Tensor) -> Tensor:
    """Σ_j (⟨s_i, s_j⟩ − ⟨t_i, t_j⟩)² over the rows j of row i's group, for every row i.

    A row of a negative group is in none.
    """
    same = (group.unsqueeze(1) == group) & (group >= 0)
    gap = x_s @ x_s.T - x_t @ x_t.T
    return gap.masked_fill(~same, 0).square().sum(dim=1)
