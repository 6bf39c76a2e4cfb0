"""Inner products of each node with the nodes of its list, without a gather of their rows.

Replaces ``(rows[:, None] * h[leaves]).sum(dim=2)``. The lists are the rows of an integer matrix.
They are the edges of a bipartite graph, with equally many edges into each centre.
"""

import torch
from torch import Tensor

from graphkd.graph import sort_edges
from graphkd.ops.chunked.edges import edge_similarity
from graphkd.similarity import KERNELS


def star_products(rows: Tensor, h: Tensor, leaves: Tensor, chunk_size: int | None) -> Tensor:
    """⟨row_c, h_l⟩ for every row c and the leaves l of its list, in the shape of the leaves."""
    count, width = leaves.shape
    stars = torch.arange(count, device=h.device).unsqueeze(1).expand(count, width)
    edges = sort_edges(leaves.reshape(-1), stars.reshape(-1), h.size(0), count)
    # The edges come sorted by centre, and the sort is stable: they keep their order.
    dot, unused = KERNELS["linear"], h.new_zeros(())
    return edge_similarity(h, rows, edges, dot, unused, chunk_size).view(count, width)
