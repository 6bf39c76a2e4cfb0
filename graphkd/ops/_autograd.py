"""Joins forward and backward operators into one differentiable primitive.

An operator is opaque to ``torch.compile``, so that the graph does not unroll loops over chunks.
``torch.func`` can transform the ``autograd.Function`` around an operator. It cannot transform an
operator with ``register_autograd``.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from graphkd._precision import (
    differentiated,
    full_precision,
    has_rows,
    quick,
    refuse_batches,
    refuse_tangents,
    traced,
)


def operator(
    name: str, fake: Callable[..., Any], schema: str | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as ``torch.ops.graphkd.<name>``.

    A call goes through torch's dispatcher only if something but torch.jit traces or intercepts it:
    the dispatcher takes longer than a loss of a few hundred rows.

    Args:
        name: The operator's name.
        fake: Takes the same arguments and gives empty outputs of the right shapes.
        schema: The operator's types, if annotations do not give them.
    """

    def register(body: Callable[..., Any]) -> Callable[..., Any]:
        made = torch.library.custom_op(f"graphkd::{name}", body, mutates_args=(), schema=schema)
        made.register_fake(fake)
        opaque = getattr(torch.ops.graphkd, name).default

        def call(*args: Any) -> Any:
            # A trace of torch.jit would keep an operator, which has no gradient by itself.
            by_jit = not torch.compiler.is_compiling() and torch._C._get_tracing_state() is not None
            return body(*args) if by_jit or not traced() else opaque(*args)

        return call

    return register


def empty_gradient(x: Tensor, needed: bool) -> Tensor:
    """Room for the gradient of ``x`` that an operator returns; no numbers if not needed."""
    return torch.empty_like(x) if needed else x.new_empty(0)


def fused(name: str, sweep: Callable[..., Any], *, backend: str) -> Callable[..., Tensor]:
    """A primitive ``f(a, b, *extras) -> rows`` whose forward pass also computes the gradients.

    They are right if each row has the same upstream gradient, as under a mean or a sum. If it is
    known to differ, as weights of the rows do, ``expected=`` of the call is that gradient up to a
    factor. If that is not what comes, the backward pass computes the gradients anew.

    Args:
        name: The name under which its two operators are registered.
        sweep: ``(weights, a, b, *extras, need_a, need_b) -> (rows, grad_a, grad_b)``: one value per
            row of ``a``, in the dtype of ``b``, and the gradients of Σ weight_i · row_i. Weights
            of None are ones. A gradient that is not needed comes back empty.
        backend: The backend's name, for the error on a second backward pass.
    """

    def fake_forward(weights: Tensor | None, a: Tensor, b: Tensor, *rest: Any) -> Any:
        need_a, need_b = rest[-2:]
        return b.new_empty(a.size(0)), empty_gradient(a, need_a), empty_gradient(b, need_b)

    def fake_backward(grad: Tensor, grad_a: Tensor, grad_b: Tensor, *rest: Any) -> Any:
        return torch.empty_like(grad_a), torch.empty_like(grad_b)

    def forward(weights: Tensor | None, *args: Any) -> Any:
        with full_precision(args[0].device):
            return sweep(weights, *args)

    def backward(
        grad: Tensor, grad_a: Tensor, grad_b: Tensor, weights: Tensor | None, *args: Any
    ) -> Any:
        with full_precision(grad.device):
            return _rescale(grad, grad_a, grad_b, weights) or sweep(grad, *args)[1:]

    schema = torch.library.infer_schema(sweep, mutates_args=())
    arguments = schema[1 : schema.rindex(")", 0, schema.index("->"))]
    make = operator(name, fake_forward, schema)(forward)
    again = operator(
        f"{name}_backward",
        fake_backward,
        f"(Tensor grad, Tensor grad_a, Tensor grad_b, {arguments}) -> (Tensor, Tensor)",
    )(backward)
    joined = _joined(
        lambda a, b, weights, *rest: make(weights, a, b, *rest),
        lambda grad, grad_a, grad_b, a, b, weights, *rest: again(
            grad, grad_a, grad_b, weights, a, b, *rest
        ),
        backend=backend,
        keeps=True,
    )

    def apply_to(a: Tensor, b: Tensor, *extras: Any, expected: Tensor | None = None) -> Tensor:
        if expected is not None and has_rows(expected):
            # The largest is 1, so that the upstream gradient has the factor at its place.
            most = expected.detach().amax()
            expected = (expected.detach() / most.masked_fill(most == 0, 1)).to(b.dtype)
        return joined(a, b, expected, *extras)

    return apply_to


def _rescale(
    grad: Tensor, grad_a: Tensor, grad_b: Tensor, weights: Tensor | None
) -> tuple[Tensor, ...] | None:
    """The gradients of Σ weight_i · row_i, scaled by the upstream gradient; None if that differs.

    The weights are ones if there are none: a mean or a sum gives the same number to every row.
    """
    if grad.numel() == 0:
        return grad_a.clone(), grad_b.clone()
    factor = grad[0]
    if weights is not None:
        factor = grad[weights.argmax()]
        rounding = 8 * torch.finfo(grad.dtype).eps * grad.abs()
        if not bool(((grad - factor * weights).abs() <= rounding).all()):
            return None
    elif grad.stride(0) != 0 and not bool((grad == factor).all()):
        return None
    return tuple(g * factor if g.numel() else g.clone() for g in (grad_a, grad_b))


def primitive(
    name: str,
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    *,
    backend: str,
    fake: Callable[..., Any],
    keeps: int = 0,
) -> Callable[..., Tensor]:
    """A primitive ``f(a, b, *extras) -> values``, differentiable once in ``a`` and ``b``.

    Args:
        name: The name under which its two operators are registered.
        forward: ``(a, b, *extras) -> values``. If it keeps tensors for the backward pass,
            ``(a, b, *extras, need_a, need_b) -> (values, *kept)``. Its annotations give the types.
        backward: ``(grad, values, a, b, *extras, need_a, need_b) -> (grad_a, grad_b)``, or
            ``(grad, *kept, a, b, …)``. A gradient that is not needed comes back empty.
        backend: The backend's name, for the error on a second backward pass.
        fake: Takes the arguments of ``forward`` and gives empty outputs of the right shapes.
        keeps: How many tensors ``forward`` keeps.
    """
    held = keeps or 1

    def run_backward(*args: Any) -> Any:
        grad_a, grad_b = backward(*args)
        return grad_a.contiguous(), grad_b.contiguous()

    def fake_backward(*args: Any) -> Any:
        sides = zip(args[1 + held : 3 + held], args[-2:], strict=True)
        return tuple(x.new_empty(x.shape if needed else 0) for x, needed in sides)

    taken, _, _ = torch.library.infer_schema(forward, mutates_args=()).rpartition(") ->")
    kept = ", ".join(f"Tensor kept_{i}" for i in range(held))
    needs = "" if keeps else ", bool need_a, bool need_b"
    schema = f"(Tensor grad, {kept}, {taken[1:]}{needs}) -> (Tensor, Tensor)"
    return _joined(
        operator(name, fake)(forward),
        operator(f"{name}_backward", fake_backward, schema)(run_backward),
        backend=backend,
        keeps=keeps > 0,
    )


def _joined(
    forward: Callable[..., Any], backward: Callable[..., Any], *, backend: str, keeps: bool
) -> Callable[..., Tensor]:
    """The two operators of a ``primitive`` as one function."""

    @quick
    class Gradient(torch.autograd.Function):
        """The backward pass as a step of its own, so that the error on a second one is clear."""

        @staticmethod
        def forward(*args: Any) -> tuple[Tensor, Tensor]:
            grad_a, grad_b = backward(*args)
            return grad_a, grad_b

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            raise NotImplementedError(
                f"The {backend} backend does not support double backward. "
                "Pass backend='reference' for gradients of gradients."
            )

    apply: Callable[..., Any] = Gradient.apply  # typed, unlike torch's stub

    @quick
    class Primitive(torch.autograd.Function):
        @staticmethod
        def forward(need_a: bool, need_b: bool, *args: Any) -> Any:
            return forward(*args, need_a, need_b) if keeps else forward(*args)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            kept = output[1:] if keeps else (output,)
            if keeps:
                ctx.mark_non_differentiable(*kept)
            args = inputs[2:]
            ctx.needs = inputs[:2]
            ctx.kept = len(kept)
            ctx.tensors = [isinstance(value, Tensor) for value in args]
            ctx.scalars = [value for value in args if not isinstance(value, Tensor)]
            ctx.save_for_backward(*kept, *(v for v in args if isinstance(v, Tensor)))

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            refuse_batches()
            saved = ctx.saved_tensors  # once: a checkpoint gives them once
            kept, tensors, scalars = saved[: ctx.kept], iter(saved[ctx.kept :]), iter(ctx.scalars)
            args = [next(tensors) if is_tensor else next(scalars) for is_tensor in ctx.tensors]
            # Compiled graphs refuse a second backward pass themselves.
            once = torch.compiler.is_compiling() or not torch.is_grad_enabled()
            step = backward if once else apply
            grad_a, grad_b = step(grads[0], *kept, *args, *ctx.needs)
            return (
                None,
                None,
                grad_a if ctx.needs_input_grad[2] else None,
                grad_b if ctx.needs_input_grad[3] else None,
                *(None for _ in args[2:]),
            )

    def apply_to(a: Tensor, b: Tensor, *extras: Any) -> Tensor:
        recording = torch.is_grad_enabled()
        needs = recording and a.requires_grad, recording and b.requires_grad
        refuse_batches()
        refuse_tangents(a, b)
        # torch.compile cannot trace a Function that gets one tensor twice.
        output = differentiated(Primitive, *needs, a, b.view_as(b) if b is a else b, *extras)
        values: Tensor = output[0] if keeps else output
        return values

    return apply_to


def by_hand(
    law: Callable[..., Tensor],
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    *,
    reads: bool = True,
) -> Callable[..., Tensor]:
    """``law(a, b, *extras) -> values`` with a backward pass by hand, for operations run one by one.

    It is differentiable to any order: a gradient of the gradient goes through the law.

    Args:
        law: The plain form.
        forward: ``(a, b, *extras, need_a, need_b) -> (values, *kept)``.
        backward: ``(grad, *kept, a, b, *extras) -> (grad_a, grad_b)``. A gradient that is not
            needed may be anything.
        reads: Whether ``backward`` reads the values of a and b. If not, they may change in place
            after the call, and only a gradient of the gradient refuses that.
    """

    class ByHand(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, a: Tensor, b: Tensor, *extras: Any) -> Tensor:
            values, *kept = forward(a, b, *extras, *ctx.needs_input_grad[:2])
            ctx.save_for_backward(*((a, b) if reads else ()), *kept)
            ctx.extras = extras
            if not reads:
                ctx.inputs, ctx.versions = (a, b), (a._version, b._version)
            result: Tensor = values
            return result

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            saved: Any = ctx.saved_tensors if reads else (*ctx.inputs, *ctx.saved_tensors)
            a, b, *kept = saved
            needs = ctx.needs_input_grad[:2]
            with full_precision(a.device):
                if torch.is_grad_enabled():
                    if not reads and ctx.versions != (a._version, b._version):
                        raise RuntimeError(
                            "a gradient of the gradient needs the loss's inputs, and one of them "
                            "was changed in place after the loss. Change a copy of it."
                        )
                    found = _through(law, needs, grads[0], a, b, *ctx.extras)
                else:
                    found = backward(grads[0], *kept, a, b, *ctx.extras)
            sides = (x if needed else None for x, needed in zip(found, needs, strict=True))
            return (*sides, *(None for _ in ctx.extras))

    # What Function.apply does first is for torch.func, which does not come here.
    base: Any = super(torch.autograd.Function, ByHand)
    apply: Callable[..., Tensor] = base.apply

    def apply_to(a: Tensor, b: Tensor, *extras: Any) -> Tensor:
        if torch.is_grad_enabled() and (a.requires_grad or b.requires_grad):
            return apply(a, b, *extras)
        values: Tensor = forward(a, b, *extras, False, False)[0]
        return values

    return apply_to


def scaled_rows(grad: Tensor, grad_a: Tensor, grad_b: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    """The gradients of Σ rows times the upstream gradient, where each row stands alone."""
    # A mean or a sum gives the same number to every row.
    factor = (grad[:1] if grad.stride(0) == 0 else grad).unsqueeze(-1)
    return (
        grad_a * factor if grad_a.numel() else grad_a,
        grad_b * factor if grad_b.numel() else grad_b,
    )


def _through(
    law: Callable[..., Tensor], needs: Any, grad: Tensor, a: Tensor, b: Tensor, *extras: Any
) -> list[Tensor | None]:
    """The gradients that are needed by autograd, which can differentiate them again."""
    # Views of their own: one side may depend on the other, and each gradient is of one side.
    sides = a.view_as(a), b.view_as(b)
    values = law(*sides, *extras)
    learning = [x for x, needed in zip(sides, needs, strict=True) if needed]
    found = iter(torch.autograd.grad(values, learning, grad, create_graph=True))
    return [next(found) if needed else None for needed in needs]
