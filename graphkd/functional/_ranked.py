"""What losses over the ranks of a process group share: sums, and gradients made with the value.

Each rank returns the value of all ranks' rows. The gradients of a rank's rows are multiplied by the
number of ranks where DistributedDataParallel is to divide by it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from graphkd._precision import exact
from graphkd.distributed import Ranks
from graphkd.functional._rows import weigh


def learns(x: Tensor) -> bool:
    return torch.is_grad_enabled() and x.requires_grad


def scale_of(
    weight: Tensor | None, reduction: str, ranks: Ranks
) -> tuple[Tensor | float, Tensor | float]:
    """What row values are multiplied by before their mean over all ranks' rows, and a divisor.

    By the divisor, the gradient of that mean for a weight becomes that of a mean by weights.
    """
    n = ranks.total()
    if weight is None:
        return 1.0, n
    scale = exact(weight.detach())
    if reduction == "sum":
        return scale, n
    total = ranks.sum(scale.sum())
    total = total.masked_fill(total == 0, 1)
    return scale * (n / total), total


def ranked_sum(
    rows: Tensor,
    weight: Tensor | None,
    counted: Tensor,
    reduction: str,
    ranks: Ranks,
    ddp: bool,
) -> Tensor:
    """The weighted sum of all ranks' row values, or their mean over the counted rows of all."""
    if weight is not None:
        rows, counted = weigh(rows, weight), weight * counted
    own, count = rows.sum(), exact(counted).sum()
    with torch.no_grad():
        total, divisor = ranks.sum(torch.stack([exact(rows).sum(), count])).unbind()
        each = 1 / divisor.masked_fill(divisor == 0, 1)
        if reduction == "sum":
            each = torch.ones_like(each)
        gradients = [each.to(own.dtype), -total * each.square()]
    # A sum has no divisor, from which a weight would get a gradient.
    inputs = [own, count] if reduction == "mean" else [own]
    return attached(total * each, inputs, gradients[: len(inputs)], factor(ranks, ddp))


def factor(ranks: Ranks, ddp: bool) -> int:
    return ranks.world if ddp else 1


class _Known(torch.autograd.Function):
    """A value, with its gradients for the inputs."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, inputs: int, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        ctx.inputs = inputs
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        apply: Any = _Times.apply
        gradients = apply(grads[0], ctx.inputs, *ctx.saved_tensors)
        return None, None, *gradients, *(None for _ in gradients)


class _Times(torch.autograd.Function):
    """The backward pass as a separate step, so that a second one fails by name."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, inputs: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(gradient * grad for gradient in tensors[inputs:])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError(
            "A loss with process_group does not support double backward. Call it on one process, "
            "with backend='reference', for gradients of gradients."
        )


def attached(
    value: Tensor, inputs: Sequence[Tensor], gradients: Sequence[Tensor], factor: float
) -> Tensor:
    """The value in the inputs' precision, with the given gradients for the inputs that learn.

    These are multiplied by ``factor``. Backward needs no other rank.
    """
    value = value.to(inputs[0].dtype)
    pairs = [(x, g.mul_(factor)) for x, g in zip(inputs, gradients, strict=True) if learns(x)]
    if not pairs:
        return value
    apply: Any = _Known.apply
    known: Tensor = apply(value, len(pairs), *(x for x, _ in pairs), *(g for _, g in pairs))
    return known
