"""The primitives in their obvious form: dense, never optimised, the law for every other backend.

Differentiable by autograd to any order.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from graphkd.similarity import Kernel, KernelFunction, apply_callable, row_statistic


def infonce(p: Tensor, q: Tensor, temperature: float) -> Tensor:
    """−log softmax_j(⟨p_i, q_j⟩ / temperature) at j = i, for every row i."""
    target = torch.arange(p.size(0), device=p.device)
    return F.cross_entropy(p @ q.T / temperature, target, reduction="none")


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
    gap = _dense(x_s, kernel, gamma_s, loss) - _dense(x_t, kernel, gamma_t, loss)
    return gap.square().sum(dim=1) / max(x_s.size(0), 1)


def edge_similarity(
    x_src: Tensor,
    x_dst: Tensor,
    src: Tensor,
    dst: Tensor,
    kernel: Kernel | KernelFunction,
    gamma: Tensor,
    *,
    loss: str,
) -> Tensor:
    """k(x_src[src_e], x_dst[dst_e]) for every edge e."""
    return row_similarity(
        kernel, x_src.index_select(0, src), x_dst.index_select(0, dst), gamma, loss=loss
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
