"""Inner products of nodes with the nodes of a list each: contexts of an anchor, or a path's nodes.

The lists are the rows of an integer matrix. They are the edges of a bipartite graph with as many
edges into each centre, so that no rows × nodes × d gather is held.
"""

from typing import Any

import torch
from torch import Tensor

from graphkd._checks import check_devices, describe
from graphkd._precision import exact, traced
from graphkd.graph import sort_edges
from graphkd.ops import chunked
from graphkd.similarity import KERNELS


def check_node_ids(loss: str, name: str, ids: Any, like: Tensor, dim: int, remedy: str) -> None:
    """Raise unless ``ids`` is an integer tensor of ``dim`` dimensions that names rows of ``like``.

    On a GPU the values are left to the operations that use them, lest each step wait for it.
    """
    shape = "[M]" if dim == 1 else "[M, k]"
    if not isinstance(ids, Tensor) or ids.dtype not in (torch.int32, torch.int64):
        raise TypeError(
            f"{loss}: {name} must be an int64 tensor {shape} of node ids; got {describe(ids)}. "
            f"{remedy}"
        )
    if ids.dim() != dim:
        raise ValueError(f"{loss}: {name} must have shape {shape}; got {describe(ids)}. {remedy}")
    check_devices(loss, embeddings=like, **{name: ids})
    if traced() or ids.numel() == 0 or ids.device.type != "cpu":
        return
    low, high = (int(extreme) for extreme in ids.aminmax())
    if low < 0 or high >= like.size(0):
        raise IndexError(
            f"{loss}: {name} names node {low if low < 0 else high}, but there are {like.size(0)} "
            f"rows, numbered from 0. Ids must lie in [0, {like.size(0)})."
        )


def star_products(
    h: Tensor, centres: Tensor, leaves: Tensor, backend: str, chunk_size: int | None
) -> Tensor:
    """⟨h_c, h_l⟩ for every centre c and the leaves l of its row, in the shape of the leaves.

    In float64: near convergence, it is their difference from the teacher's whose digits count.
    """
    h = exact(h)
    rows = h.index_select(0, centres)
    count, width = leaves.shape
    if backend == "reference":
        around = h.index_select(0, leaves.reshape(-1)).view(count, width, h.size(1))
        return (rows.unsqueeze(1) * around).sum(dim=2)
    stars = torch.arange(count, device=h.device).unsqueeze(1).expand(count, width)
    edges = sort_edges(leaves.reshape(-1), stars.reshape(-1), h.size(0), count)
    # Sorting by centre is stable and changes nothing here.
    dot, unused = KERNELS["linear"], h.new_zeros(())
    return chunked.edge_similarity(h, rows, edges, dot, unused, chunk_size).view(count, width)
