"""The bandwidth of the rbf kernel: a number, or from the median distance of the loss's pairs."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from graphkd._precision import exact, traced
from graphkd.graph import Edges
from graphkd.ops import chunked
from graphkd.similarity import KERNELS, Gamma, Kernel, KernelFunction, masked_median, median_gamma

MOST_ROWS = 1024
# exp(-16) is 1e-7: with gamma m² above 16, half of all pairs are zero to float32.
_SATURATED = 16.0


def edge_median(x_src: Tensor, x_dst: Tensor, edges: Edges, counts: Tensor) -> Tensor:
    """The median length of the edges where ``counts`` is true; infinite if there is none."""
    if edges.src.numel() == 0:
        return x_src.new_full((), torch.inf)
    return masked_median(edge_lengths(x_src, x_dst, edges), counts)


def edge_lengths(x_src: Tensor, x_dst: Tensor, edges: Edges) -> Tensor:
    """The distance between the ends of every edge, detached."""
    x_src, x_dst, zero = x_src.detach(), x_dst.detach(), x_src.new_zeros(())
    return chunked.edge_similarity(x_src, x_dst, edges, KERNELS["l2"], zero, None)


def pair_median(x: Tensor) -> Tensor:
    """The median distance of the pairs i < j of rows; infinite if there is no pair."""
    if x.size(0) < 2:
        return x.new_full((), torch.inf)
    # Near convergence the loss depends on the difference of two bandwidths.
    return torch.pdist(exact(x.detach())).median()


def bandwidth(
    kernel: Kernel | KernelFunction, gamma: Gamma, like: Tensor, median: Callable[[], Tensor]
) -> Tensor:
    """The bandwidth as a scalar tensor. A kernel that has none gets a zero and ignores it."""
    if kernel is not KERNELS["rbf"]:
        return like.new_zeros(())
    if gamma == "median":
        # It is never 0 in the rows' dtype: 0 times an infinite square would be NaN.
        return median_gamma(median()).clamp(min=torch.finfo(like.dtype).tiny)
    return like.new_full((), gamma)


def warn_if_saturated(
    loss: str,
    kernel: Kernel | KernelFunction,
    gamma: Gamma,
    width: int,
    median: Callable[[], Tensor],
) -> None:
    """Warn if a fixed bandwidth makes the kernel vanish, so that the loss sees no structure.

    Python shows a repeated warning once. Skipped while compiling.
    """
    if kernel is not KERNELS["rbf"] or isinstance(gamma, str) or traced():
        return
    exponent = gamma * float(median()) ** 2
    if _SATURATED < exponent < torch.inf:
        warnings.warn(
            f"{loss}: kernel='rbf' with gamma={gamma} is below 1e-7 at the median pair of the "
            f"{width}-wide teacher rows, so that most similarities vanish and the loss is nearly "
            "blind. Pass gamma='median'.",
            stacklevel=3,
        )
