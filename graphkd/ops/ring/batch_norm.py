"""BatchNorm with the moments of all ranks' rows, on any backend."""

from typing import Any

import torch
from torch import Tensor, nn

from graphkd.distributed import Ranks


class _Normalised(torch.autograd.Function):
    """(x − m)/√(v + ε) with the mean and variance of all ranks' rows.

    The mean comes first, and squares are taken about it, so that no digits cancel.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float, ranks: Ranks) -> tuple[Tensor, Tensor, Tensor]:
        n = ranks.total()
        mean = ranks.sum(x.sum(dim=0, dtype=torch.float64)) / n
        apart = x - mean.to(x.dtype)
        # The part of the mean that rounding lost.
        rest = mean - mean.to(x.dtype)
        squares = ranks.sum(apart.square().sum(dim=0, dtype=torch.float64))
        variance = (squares / n - rest.square()).clamp(min=0)
        inverse = (variance + eps).rsqrt().to(x.dtype)
        normalised = apart.mul_(inverse)
        ctx.ranks = ranks
        ctx.save_for_backward(normalised, inverse)
        ctx.mark_non_differentiable(mean, variance)
        return normalised, mean, variance

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (grad, *_), (normalised, inverse) = grads, ctx.saved_tensors
        sums = torch.stack(
            [
                grad.sum(dim=0, dtype=torch.float64),
                (grad * normalised).sum(dim=0, dtype=torch.float64),
            ]
        )
        average, along = (ctx.ranks.sum(sums) / ctx.ranks.total()).to(grad.dtype).unbind()
        return (grad - average - normalised * along) * inverse, None, None


def batch_norm(norm: nn.BatchNorm1d, x: Tensor, ranks: Ranks) -> Tensor:
    """``norm`` of this rank's rows, with the moments of all ranks' rows.

    The backward pass is collective, because each row's gradient depends on all rows.
    """
    if not norm.training and norm.running_mean is not None:
        out: Tensor = norm(x)
        return out
    n = ranks.total()
    if n:
        normalise: Any = _Normalised.apply
        x, mean, variance = normalise(x, norm.eps, ranks)
        if norm.training and norm.running_mean is not None:
            _remember(norm, mean, variance * (n / (n - 1)))
    if norm.affine:
        x = torch.addcmul(norm.bias, x, norm.weight)
    return x


@torch.no_grad()
def _remember(norm: nn.BatchNorm1d, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics, as torch's BatchNorm does."""
    tracked, running_mean, running_var = (
        norm.num_batches_tracked,
        norm.running_mean,
        norm.running_var,
    )
    if tracked is None or running_mean is None or running_var is None:
        return
    tracked.add_(1)
    share = 1 / float(tracked) if norm.momentum is None else norm.momentum
    running_mean.lerp_(mean.to(running_mean.dtype), share)
    running_var.lerp_(variance.to(running_var.dtype), share)
