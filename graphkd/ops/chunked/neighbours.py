"""Sums over neighbours, and products along edges, a block of edges at a time.

Replaces ``zeros.index_add(0, dst, weights[:, None] * x[src])`` and ``(x[src] * y[dst]).sum(1)``.
Each is the other's derivative.
"""

from typing import Any

import torch
from torch import Tensor

from graphkd._precision import differentiated, followed
from graphkd.graph import Edges
from graphkd.ops._autograd import operator
from graphkd.ops._blocks import numbers, row_products, slices

# The rows of a block of edges hold at most this many numbers, so that they stay in a core's cache.
_BLOCK = 2**18


def neighbour_sums(x: Tensor, weights: Tensor, edges: Edges) -> Tensor:
    """Σ w_e x_j over the edges e: j → i into each centre i; neither input gets a gradient."""
    sums: Tensor = _neighbour_sums(x, weights, edges.src, edges.dst, edges.num_dst)
    return sums


def edge_products(x: Tensor, y: Tensor, edges: Edges) -> Tensor:
    """x_j · y_i for each edge j → i; derivatives of any order, in memory linear in the edges."""
    if followed():  # what follows the operations needs those of torch
        return (x.index_select(0, edges.src) * y.index_select(0, edges.dst)).sum(dim=1)
    products: Tensor = differentiated(_Products, x, y, edges.src, edges.dst)
    return products


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, y: Tensor, src: Tensor, dst: Tensor) -> Tensor:
        parts = [
            row_products(x.index_select(0, src[block]), y.index_select(0, dst[block]))
            for block in _blocks(src, x)
        ]
        return torch.cat(parts) if parts else x.new_empty(0)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, y, src, dst = ctx.saved_tensors
        need_x, need_y = ctx.needs_input_grad[:2]
        grad_x = differentiated(_Sums, y, grad, dst, src, x.size(0)) if need_x else None
        grad_y = differentiated(_Sums, x, grad, src, dst, y.size(0)) if need_y else None
        return grad_x, grad_y, None, None


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, weights: Tensor, src: Tensor, dst: Tensor, count: int) -> Tensor:
        return _sums(x, weights, src, dst, count)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:4])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, weights, src, dst = ctx.saved_tensors
        need_x, need_weights = ctx.needs_input_grad[:2]
        grad_x = differentiated(_Sums, grad, weights, dst, src, x.size(0)) if need_x else None
        grad_weights = differentiated(_Products, x, grad, src, dst) if need_weights else None
        return grad_x, grad_weights, None, None, None


def _sums(x: Tensor, weights: Tensor, src: Tensor, dst: Tensor, count: int) -> Tensor:
    total = x.new_zeros(count, x.size(1))
    for block in _blocks(src, x):
        rows = x.index_select(0, src[block]).mul_(weights[block, None])
        total.index_add_(0, dst[block], rows)
    return total


def _blocks(src: Tensor, x: Tensor) -> list[slice]:
    return [*slices(src.numel(), max(numbers(x.device, _BLOCK) // max(x.size(1), 1), 1))]


_neighbour_sums = operator(
    "neighbour_sums", lambda x, weights, src, dst, count: x.new_empty(count, x.size(1))
)(_sums)
