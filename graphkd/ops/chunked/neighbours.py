"""Sums over neighbours, a block of edges at a time.

Replaces ``zeros.index_add(0, dst, weights[:, None] * x[src])``.
"""

from torch import Tensor

from graphkd.graph import Edges
from graphkd.ops._autograd import operator
from graphkd.ops._blocks import numbers, slices

# The rows of a block of edges hold at most this many numbers, so that they stay in a core's cache.
_BLOCK = 2**18


def neighbour_sums(x: Tensor, weights: Tensor, edges: Edges) -> Tensor:
    """Σ w_e x_j over the edges e: j → i into each centre i; neither input gets a gradient."""
    sums: Tensor = _neighbour_sums(x, weights, edges.src, edges.dst, edges.num_dst)
    return sums


def _sums(x: Tensor, weights: Tensor, src: Tensor, dst: Tensor, count: int) -> Tensor:
    total = x.new_zeros(count, x.size(1))
    for block in slices(src.numel(), max(numbers(x.device, _BLOCK) // x.size(1), 1)):
        rows = x.index_select(0, src[block]).mul_(weights[block, None])
        total.index_add_(0, dst[block], rows)
    return total


_neighbour_sums = operator(
    "neighbour_sums", lambda x, weights, src, dst, count: x.new_empty(count, x.size(1))
)(_sums)
