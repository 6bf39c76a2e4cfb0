"""``(x_src[src] * x_dst[dst]).sum(-1)``, or the squared distance, without its E × d gathers.

Forward, a program takes a block of edges. Backward, a program owns a node's gradient and sums over
the node's edges: the incoming ones for ``x_dst``, the outgoing ones for ``x_src``.
"""

import triton
from torch import Tensor

from graphkd.graph import Edges
from graphkd.ops._autograd import primitive
from graphkd.ops.triton._common import edge_blocks, gradient_for, in_memory, launching
from graphkd.ops.triton.kernels import edges as kernels
from graphkd.similarity import KERNELS, Kernel, kernel_rows


def edge_similarity(
    x_src: Tensor, x_dst: Tensor, edges: Edges, kernel: Kernel, gamma: Tensor
) -> Tensor:
    """k(x_src[src_e], x_dst[dst_e]) for every edge e."""
    x_src, x_dst = kernel_rows(kernel, x_src), kernel_rows(kernel, x_dst)
    statistic = _edge_statistic(
        x_src,
        x_dst,
        edges.src,
        edges.dst,
        edges.ptr,
        edges.order,
        edges.src_ptr,
        kernel.name,
    )
    return kernel.value(statistic, gamma)


def _forward(
    x_src: Tensor,
    x_dst: Tensor,
    src: Tensor,
    dst: Tensor,
    ptr: Tensor,
    order: Tensor,
    src_ptr: Tensor,
    kernel: str,
) -> Tensor:
    x_src, x_dst, src, dst = (in_memory(x) for x in (x_src, x_dst, src, dst))
    num_edges, width = src.numel(), x_src.size(1)
    values = x_src.new_empty(num_edges)
    if num_edges == 0:
        return values
    blocks = edge_blocks(width)
    with launching(x_src):
        kernels.forward[(triton.cdiv(num_edges, blocks.rows),)](
            x_src,
            x_dst,
            src,
            dst,
            values,
            num_edges,
            x_src.size(0),
            x_dst.size(0),
            width,
            block_edges=blocks.rows,
            block_width=blocks.inner,
            dot=KERNELS[kernel].statistic == "dot",
            num_warps=blocks.warps,
        )
    return values


def _backward(
    grad: Tensor,
    values: Tensor,
    x_src: Tensor,
    x_dst: Tensor,
    src: Tensor,
    dst: Tensor,
    ptr: Tensor,
    order: Tensor,
    src_ptr: Tensor,
    kernel: str,
    need_src: bool,
    need_dst: bool,
) -> tuple[Tensor, Tensor]:
    x_src, x_dst, grad = (in_memory(x) for x in (x_src, x_dst, grad))
    leaving = dst.contiguous(), order.contiguous(), src_ptr.contiguous()
    entering = src.contiguous(), order, ptr.contiguous()
    with launching(x_src):
        return (
            _gradient(x_src, x_dst, leaving, grad, kernel, need_src, ordered=False),
            _gradient(x_dst, x_src, entering, grad, kernel, need_dst, ordered=True),
        )


def _gradient(
    x: Tensor,
    other: Tensor,
    edges: tuple[Tensor, Tensor, Tensor],
    grad: Tensor,
    kernel: str,
    needed: bool,
    *,
    ordered: bool,
) -> Tensor:
    out = gradient_for(x, needed)
    if out.numel() == 0:
        return out
    nodes, width = x.shape
    blocks = edge_blocks(width)
    kernels.backward[(nodes, triton.cdiv(width, blocks.output))](
        x,
        other,
        *edges,
        grad,
        out,
        nodes,
        other.size(0),
        width,
        block_edges=blocks.columns,
        block_width=blocks.output,
        ordered=ordered,
        dot=KERNELS[kernel].statistic == "dot",
        num_warps=blocks.warps,
    )
    return out


_edge_statistic = primitive(
    "triton_edge_statistic",
    _forward,
    _backward,
    backend="Triton",
    fake=lambda x_src, x_dst, src, *rest: x_src.new_empty(src.numel()),
)
