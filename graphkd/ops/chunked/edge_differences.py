"""Divergence between student and teacher in how the two ends of each edge differ.

Replaces ``(q * (q.log() - p.log())).sum(dim=1)`` of the softmaxes of ``(z[src] - z[dst]).abs()/T``.
A block of edges leaves its values and its gradient; no E × C tensor is held.
"""

import torch
from torch import Tensor

from graphkd.graph import Edges
from graphkd.ops._autograd import empty_gradient, fused
from graphkd.ops._blocks import numbers, slices
from graphkd.ops.chunked.soft_rows import divergence_and_slope
from graphkd.ops.reference.edge_differences import apart

# A matrix of a block of edges and all classes has at most this many numbers. About ten are held.
_BLOCK = 2**18


def difference_divergence(
    z_s: Tensor, z_t: Tensor, edges: Edges, temperature: float, chunk_size: int | None
) -> Tensor:
    """Σ w_e KL(σ(|t_j − t_i|/T) ‖ σ(|s_j − s_i|/T)) over the edges e: j → i, for every node i.

    Differentiable by the student's logits and the weights.
    """
    weight = z_s.new_empty(0) if edges.weight is None else edges.weight
    ends = edges.src, edges.dst
    return _difference_divergence(z_s, weight, z_t, *ends, temperature, chunk_size or 0)


def _sweep(
    weights: Tensor | None,
    z_s: Tensor,
    edge_weight: Tensor,
    z_t: Tensor,
    src: Tensor,
    dst: Tensor,
    temperature: float,
    chunk_size: int,
    need_s: bool,
    need_edges: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The rows, and the gradients of the student and of the weights of edges.

    No numbers in place of these weights stand for ones.
    """
    rows = z_s.new_zeros(z_s.size(0))
    gradient = torch.zeros_like(z_s) if need_s else z_s.new_empty(0)
    of_edges = empty_gradient(edge_weight, need_edges)
    size = chunk_size or max(numbers(z_s.device, _BLOCK) // max(z_s.size(1), 1), 1)
    for edges in slices(src.numel(), size):
        j, i = src[edges], dst[edges]
        gap = apart(z_s, j, i)
        p, q = gap.abs().div_(temperature), apart(z_t, j, i).abs_().div_(temperature)
        values, pull = divergence_and_slope(p, q, q - p)
        if need_edges:
            of_edges[edges] = values if weights is None else values * weights[i]
        if edge_weight.numel():
            values = values * edge_weight[edges]
        rows.index_add_(0, i, values)
        if need_s:
            pull.mul_(gap.sign_()).div_(temperature)
            if weights is not None:
                pull.mul_(weights[i, None])
            if edge_weight.numel():
                pull.mul_(edge_weight[edges, None])
            gradient.index_add_(0, j, pull).index_add_(0, i, pull, alpha=-1)
    return rows, gradient, of_edges


_difference_divergence = fused("difference_divergence", _sweep, backend="chunked")
