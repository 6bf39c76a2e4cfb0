"""A kernel's value on every edge, gathering the rows of a block of edges at a time."""

from collections.abc import Iterator

import torch
from torch import Tensor

from graphkd._precision import full_precision
from graphkd.ops._autograd import block_size, differentiable, empty_gradient
from graphkd.similarity import KERNELS, Kernel, row_statistic


def edge_similarity(
    x_src: Tensor,
    x_dst: Tensor,
    src: Tensor,
    dst: Tensor,
    kernel: Kernel,
    gamma: Tensor,
    chunk_size: int | None,
) -> Tensor:
    """k(x_src[src_e], x_dst[dst_e]) for every edge e, gathering a block of edges at a time."""
    block = block_size(chunk_size, x_src.size(1))
    return kernel.value(_edge_statistic(x_src, x_dst, src, dst, kernel.name, block), gamma)


def _edge_blocks(src: Tensor, dst: Tensor, block: int) -> Iterator[tuple[Tensor, Tensor, slice]]:
    """The neighbours, the centres and the place of each block of edges."""
    for start in range(0, src.numel(), block):
        edges = slice(start, start + block)
        yield src[edges], dst[edges], edges


@torch.library.custom_op("graphkd::edge_statistic", mutates_args=())
def _edge_statistic_op(
    x_src: Tensor, x_dst: Tensor, src: Tensor, dst: Tensor, kernel: str, block: int
) -> Tensor:
    spec = KERNELS[kernel]
    with full_precision(x_src.device):
        values = x_src.new_empty(src.numel())
        for j, i, edges in _edge_blocks(src, dst, block):
            values[edges] = row_statistic(spec, x_src.index_select(0, j), x_dst.index_select(0, i))
        return values


@torch.library.custom_op("graphkd::edge_statistic_backward", mutates_args=())
def _edge_statistic_backward_op(
    grad: Tensor,
    values: Tensor,
    x_src: Tensor,
    x_dst: Tensor,
    src: Tensor,
    dst: Tensor,
    kernel: str,
    block: int,
    need_src: bool,
    need_dst: bool,
) -> tuple[Tensor, Tensor]:
    spec = KERNELS[kernel]
    with full_precision(x_src.device):
        grad_src = torch.zeros_like(x_src) if need_src else x_src.new_empty(0)
        grad_dst = torch.zeros_like(x_dst) if need_dst else x_dst.new_empty(0)
        for j, i, edges in _edge_blocks(src, dst, block):
            weight = grad[edges, None]
            rows_src, rows_dst = x_src.index_select(0, j), x_dst.index_select(0, i)
            if spec.statistic == "dot":
                to_src, to_dst = weight * rows_dst, weight * rows_src
            else:
                to_src = (rows_src - rows_dst).mul_(2 * weight)
                to_dst = -to_src
            if need_src:
                grad_src.index_add_(0, j, to_src)
            if need_dst:
                grad_dst.index_add_(0, i, to_dst)
        return grad_src, grad_dst


@_edge_statistic_op.register_fake
def _(x_src: Tensor, x_dst: Tensor, src: Tensor, dst: Tensor, kernel: str, block: int) -> Tensor:
    return x_src.new_empty(src.numel())


@_edge_statistic_backward_op.register_fake
def _(
    grad: Tensor,
    values: Tensor,
    x_src: Tensor,
    x_dst: Tensor,
    src: Tensor,
    dst: Tensor,
    kernel: str,
    block: int,
    need_src: bool,
    need_dst: bool,
) -> tuple[Tensor, Tensor]:
    return empty_gradient(x_src, need_src), empty_gradient(x_dst, need_dst)


_edge_statistic = differentiable(
    torch.ops.graphkd.edge_statistic.default, torch.ops.graphkd.edge_statistic_backward.default
)
