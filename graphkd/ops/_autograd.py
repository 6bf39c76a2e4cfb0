"""Joins a forward and a backward operator into one differentiable primitive.

The operators are opaque to ``torch.compile``, so that loops over chunks are not unrolled into its
graph. The ``autograd.Function`` around them is what ``torch.func`` can transform; operators with
``register_autograd`` it cannot.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from graphkd._precision import differentiated

Operator = Callable[..., Any]

# A block holds at most this many numbers: 16 MiB in float32.
_BLOCK = 2**22


def block_size(chunk_size: int | None, row: int) -> int:
    """How many rows of ``row`` numbers each make a block."""
    return chunk_size or max(_BLOCK // max(row, 1), 1)


def empty_gradient(x: Tensor, needed: bool) -> Tensor:
    """The shape of the gradient for ``x`` that a backward operator returns."""
    return torch.empty_like(x) if needed else x.new_empty(0)


def differentiable(forward_op: Operator, backward_op: Operator) -> Callable[..., Tensor]:
    """A primitive ``f(a, b, *extras) -> rows``, differentiable once in ``a`` and ``b``.

    Args:
        forward_op: ``(a, b, *extras) -> rows``, one value per row or edge.
        backward_op: ``(grad_rows, rows, a, b, *extras, need_a, need_b) -> (grad_a, grad_b)``;
            a gradient that is not needed comes back empty.
    """

    class Gradient(torch.autograd.Function):
        """The backward pass as a step of its own, so that a second one fails by name."""

        @staticmethod
        def forward(*args: Any) -> tuple[Tensor, Tensor]:
            grad_a, grad_b = backward_op(*args)
            return grad_a, grad_b

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            raise NotImplementedError(
                "The chunked backend does not support double backward. "
                "Pass backend='reference' for gradients of gradients."
            )

    apply: Operator = Gradient.apply  # typed, which torch's stub is not

    class Primitive(torch.autograd.Function):
        @staticmethod
        def forward(*args: Any) -> Tensor:
            rows: Tensor = forward_op(*args)
            return rows

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
            ctx.tensors = [isinstance(value, Tensor) for value in inputs]
            ctx.scalars = [value for value in inputs if not isinstance(value, Tensor)]
            ctx.save_for_backward(output, *(v for v in inputs if isinstance(v, Tensor)))

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            rows, *tensors = ctx.saved_tensors
            saved, scalars = iter(tensors), iter(ctx.scalars)
            inputs = [next(saved) if is_tensor else next(scalars) for is_tensor in ctx.tensors]
            need_a, need_b = ctx.needs_input_grad[:2]
            # Compiled graphs refuse a second backward pass themselves.
            step = backward_op if torch.compiler.is_compiling() else apply
            grad_a, grad_b = step(*grads, rows, *inputs, need_a, need_b)
            return (
                grad_a if need_a else None,
                grad_b if need_b else None,
                *(None for _ in inputs[2:]),
            )

    def primitive(a: Tensor, b: Tensor, *extras: Any) -> Tensor:
        # torch.compile cannot trace a Function that gets one tensor twice.
        rows: Tensor = differentiated(Primitive, a, b.view_as(b) if b is a else b, *extras)
        return rows

    return primitive
