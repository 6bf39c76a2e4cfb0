"""A kernel's value on every edge in its obvious form: both ends gathered, E × d.

To try another similarity along edges, change it here and pass ``backend="reference"``.
"""

from torch import Tensor

from graphkd.graph import Edges
from graphkd.similarity import (
    KERNELS,
    Kernel,
    KernelFunction,
    apply_callable,
    kernel_rows,
    row_statistic,
)


def edge_similarity(
    x_src: Tensor,
    x_dst: Tensor,
    edges: Edges,
    kernel: Kernel | KernelFunction,
    gamma: Tensor,
    *,
    loss: str,
) -> Tensor:
    """k(x_src[src_e], x_dst[dst_e]) for every edge e."""
    if isinstance(kernel, Kernel):
        x_src, x_dst = kernel_rows(kernel, x_src), kernel_rows(kernel, x_dst)
    return row_similarity(
        kernel, x_src.index_select(0, edges.src), x_dst.index_select(0, edges.dst), gamma, loss=loss
    )


def row_similarity(
    kernel: Kernel | KernelFunction, x: Tensor, y: Tensor, gamma: Tensor, *, loss: str
) -> Tensor:
    """k(x, y) along the last dimension, by broadcasting over the others."""
    if isinstance(kernel, Kernel):
        return kernel.value(row_statistic(kernel, x, y), gamma)
    return apply_callable(loss, kernel, x, y)


def edge_squares(x: Tensor, edges: Edges) -> Tensor:
    """‖x_j − x_i‖² for every edge j → i."""
    return row_statistic(KERNELS["l2"], x.index_select(0, edges.src), x.index_select(0, edges.dst))
