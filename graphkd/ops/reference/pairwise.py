"""The primitives in their obvious form: dense, never optimised, the law for every other backend.

Differentiable by autograd to any order.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from graphkd.graph import Edges
from graphkd.similarity import (
    Kernel,
    KernelFunction,
    apply_callable,
    kernel_rows,
    row_statistic,
    unit_rows,
)


def infonce(
    p: Tensor, q: Tensor, more: Tensor, temperature: float, chunk_size: int | None = None
) -> Tensor:
    """−log softmax_j(cos(p_i, k_j) / temperature) at j = i, over the keys k: q, and more."""
    p, keys = unit_rows(p), unit_rows(torch.cat([q, more]))
    target = torch.arange(p.size(0), device=p.device)
    return F.cross_entropy(p @ keys.T / temperature, target, reduction="none")


def symmetric_infonce(
    p: Tensor, q: Tensor, more: Tensor, temperature: float, chunk_size: int | None = None
) -> Tensor:
    """The mean of ``infonce(p, q)`` and ``infonce(q, p)``, the second without further keys."""
    return (infonce(p, q, more, temperature) + infonce(q, p, more[:0], temperature)) / 2


def pairwise_gap(
    x_s: Tensor,
    x_t: Tensor,
    kernel: Kernel | KernelFunction,
    gamma_s: Tensor,
    gamma_t: Tensor,
    *,
    loss: str,
) -> Tensor:
    """The mean over j of (k(s_i, s_j) − k(t_i, t_j))², for every row i."""
    if isinstance(kernel, Kernel):
        x_s, x_t = kernel_rows(kernel, x_s), kernel_rows(kernel, x_t)
    gap = _dense(x_s, kernel, gamma_s, loss) - _dense(x_t, kernel, gamma_t, loss)
    return gap.square().sum(dim=1) / max(x_s.size(0), 1)


def diagonal_gap(
    x_s: Tensor,
    x_t: Tensor,
    kernel: Kernel | KernelFunction,
    gamma_s: Tensor,
    gamma_t: Tensor,
    *,
    loss: str,
) -> Tensor:
    """k(s_i, s_i) − k(t_i, t_i), for every row i."""
    if isinstance(kernel, Kernel):
        x_s, x_t = kernel_rows(kernel, x_s), kernel_rows(kernel, x_t)
    own_s = row_similarity(kernel, x_s, x_s, gamma_s, loss=loss)
    return own_s - row_similarity(kernel, x_t, x_t, gamma_t, loss=loss)


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


def _dense(x: Tensor, kernel: Kernel | KernelFunction, gamma: Tensor, loss: str) -> Tensor:
    if isinstance(kernel, Kernel) and kernel.statistic == "dot":
        return kernel.value(x @ x.T, gamma)
    return row_similarity(kernel, x.unsqueeze(1), x.unsqueeze(0), gamma, loss=loss)
