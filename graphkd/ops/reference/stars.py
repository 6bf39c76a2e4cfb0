"""Inner products of each node with the nodes of its list in their obvious form: a gather."""

from torch import Tensor


def star_products(rows: Tensor, h: Tensor, leaves: Tensor) -> Tensor:
    """⟨row_c, h_l⟩ for every row c and the leaves l of its list, in the shape of the leaves."""
    count, width = leaves.shape
    around = h.index_select(0, leaves.reshape(-1)).view(count, width, h.size(1))
    return (rows.unsqueeze(1) * around).sum(dim=2)
