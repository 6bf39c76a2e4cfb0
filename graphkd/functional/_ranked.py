"""The losses over the ranks of a process group. Each rank returns the value of all ranks' rows.

Gradients are made with the value. Those of the rows on a rank are multiplied by the number of ranks
where DistributedDataParallel is to divide by it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from graphkd._precision import exact, full_precision
from graphkd.distributed import Ranks, meet, reporting
from graphkd.functional._bandwidth import MOST_ROWS, bandwidth, pair_median, warn_if_saturated
from graphkd.functional._options import PairOptions
from graphkd.functional._precomputed import GlobalLSPTeacher
from graphkd.functional._rows import (
    check_generator,
    matched_rows,
    reduce_rows,
    row_weights,
    weigh,
)
from graphkd.ops import ring
from graphkd.ops.reference.soft_infonce import Targets
from graphkd.similarity import Gamma, Kernel, unit_and_inverse, unit_gradient_


def _learns(x: Tensor) -> bool:
    return torch.is_grad_enabled() and x.requires_grad


@torch.compiler.disable  # type: ignore[untyped-decorator]
def ranked_global_lsp(
    h_s: Tensor,
    h_t: Any,
    kernel: Kernel,
    gamma: Gamma,
    weight: Tensor | None,
    index: Tensor | None,
    generator: torch.Generator | None,
    how: PairOptions,
) -> Tensor:
    """Global LSP of all ranks' rows; the options are checked already."""
    loss = "global_lsp_loss"
    with reporting(how.process_group):
        if isinstance(h_t, GlobalLSPTeacher):
            raise ValueError(
                f"{loss}: a precomputed teacher does not go with process_group: it is that of one "
                "rank's rows. Pass h_t itself."
            )
        s, t, chosen = matched_rows(loss, h_s, h_t, index)
        weight = row_weights(loss, weight, h_s, chosen)
        check_generator(generator)
        warn_if_saturated(loss, kernel, gamma, t.size(1), lambda: pair_median(t[:32]))
    ranks = meet(
        loss,
        how.process_group,
        rows=[s.size(0)],
        needs=[_learns(s)],
        student_width=s.size(1),
        teacher_width=t.size(1),
        dtype=s.dtype,
        kernel=kernel.name,
        gamma=gamma if isinstance(gamma, str) else float(gamma),
        reduction=how.reduction,
        tiles=how.chunk_size is not None,
        weight="none" if weight is None else "given",
    )
    n, need = ranks.total(), _learns(s)
    if n == 0:
        return reduce_rows(s.sum(dim=1), how.reduction, weight)
    with torch.no_grad(), full_precision(s.device):
        x, (scale, divisor) = s.detach(), _scale(weight, how.reduction, ranks)
        if kernel.inner and how.chunk_size is None:
            mean, gradient, rows = ring.moment_gap(x, t, kernel.unit, ranks, need, scale)
        else:
            few = ranks.draw(MOST_ROWS, generator, s.device) if gamma == "median" else None

            def width(rows: Tensor) -> Tensor:
                def median() -> Tensor:
                    return pair_median(rows if few is None else ranks.pick(rows, few))

                return bandwidth(kernel, gamma, rows, median)

            gammas = width(x), width(t)
            args = x, t, kernel, gammas, how.chunk_size, ranks, need
            mean, gradient, rows = ring.pairwise_gap(*args, scale)
    counted = n if how.reduction == "sum" else 1
    inputs, gradients = [s], [gradient]
    if weight is not None:
        pull = (rows if how.reduction == "sum" else rows - mean) / divisor
        inputs, gradients = [s, weight], [gradient, pull.to(weight.dtype)]
    return _attached(mean * counted, inputs, gradients, counted * _factor(ranks, how.ddp))


@torch.compiler.disable  # type: ignore[untyped-decorator]
def ranked_contrast(
    p: Tensor,
    q: Tensor,
    more: Tensor,
    weight: Tensor | None,
    temperature: float | Tensor,
    symmetric: bool,
    num_negatives: int | None,
    generator: torch.Generator | None,
    how: PairOptions,
    targets: Targets | None,
) -> Tensor:
    """G-CRD of all ranks' rows, which passed the gate; both sides may learn.

    The keys ``more`` of any rank are negatives of all ranks' anchors. So are drawn keys.
    """
    with reporting(how.process_group):
        check_generator(generator)
    tau = temperature.item() if isinstance(temperature, Tensor) else float(temperature)
    ranks = meet(
        "gcrd_loss",
        how.process_group,
        rows=[p.size(0), more.size(0)],
        needs=[_learns(p), _learns(q)],
        width=p.size(1),
        dtype=p.dtype,
        temperature=tau,
        symmetric=symmetric,
        num_negatives=num_negatives,
        reduction=how.reduction,
        **_agreed(targets),
        weight="none" if weight is None else "given",
    )
    n, further = ranks.total(), ranks.rows(1)
    if n == 0:
        given = [x for x in (p, q, weight, temperature) if isinstance(x, Tensor)]
        return torch.stack([x.flatten()[:0].sum().to(p.dtype) for x in given]).sum()
    needs, learns = (
        (_learns(p), _learns(q)),
        isinstance(temperature, Tensor) and _learns(temperature),
    )
    with torch.no_grad(), full_precision(p.device):
        sides = [x.detach() if targets is None else exact(x.detach()) for x in (p, q)]
        (unit_p, inverse_p), (unit_q, inverse_q) = map(unit_and_inverse, sides)
        unit_more = unit_and_inverse(more)[0]
        drawn = None
        if num_negatives is not None and num_negatives < n:
            drawn = ranks.draw(num_negatives, generator, p.device)
        each, scale = 1.0 / n if how.reduction == "mean" else 1.0, None
        if isinstance(known := _scale(weight, how.reduction, ranks)[0], Tensor):
            scale = known.to(p.dtype)
        rest = tau, how.chunk_size, ranks, drawn
        rows, grad_p, grad_q = _one_way(
            scale, unit_p, unit_q, unit_more, further, targets, *rest,
            (needs[0] or learns, needs[1], ranks.needed(1)),
        )  # fmt: skip
        along = _along(grad_p, unit_p) if learns else exact(p.new_zeros(()))
        if symmetric:
            turned = None if targets is None else targets.turned(q)
            back, back_q, back_p = _one_way(
                scale, unit_q, unit_p, unit_more[:0], [0] * ranks.world, turned, *rest,
                (needs[1] or learns, needs[0], ranks.needed(0)),
            )  # fmt: skip
            each, rows = each / 2, (rows + back) / 2
            along = along + _along(back_q, unit_q) if learns else along
            grad_p = grad_p + back_p if needs[0] else grad_p
            grad_q = grad_q + back_q if needs[1] else grad_q
        for need, gradient, unit, inverse in (
            (needs[0], grad_p, unit_p, inverse_p),
            (needs[1], grad_q, unit_q, inverse_q),
        ):
            if need:
                unit_gradient_(gradient, unit.to(p.dtype), inverse.to(p.dtype))
    with full_precision(p.device):
        value = ranked_sum(rows, weight, torch.ones_like(rows), how.reduction, ranks, how.ddp)
    inputs, gradients = [p, q], [grad_p, grad_q]
    if isinstance(temperature, Tensor):
        # Logits are ⟨p̂_i, q̂_j⟩/τ, so that −τ ∂L/∂τ = Σ_i ⟨∂L/∂p̂_i, p̂_i⟩.
        inputs, gradients = [*inputs, temperature], [*gradients, (-along / tau).to(p.dtype)]
    zero, factor = torch.zeros_like(value), each * _factor(ranks, how.ddp)
    return value.to(p.dtype) + _attached(zero, inputs, gradients, factor)


def _along(gradient: Tensor, rows: Tensor) -> Tensor:
    return exact(torch.linalg.vecdot(gradient, rows.to(gradient.dtype))).sum()


def _agreed(targets: Targets | None) -> dict[str, Any]:
    """What all ranks must have in common of their soft targets."""
    if targets is None:
        return {"teacher_temperature": None}
    width = None if targets.rows is None else targets.rows.size(1)
    own = targets.rows is None and targets.more is None
    return {
        "teacher_temperature": float(targets.temperature),
        "teacher_width": width,
        "extra_targets": "the keys" if own else "given",
    }


def _one_way(
    scale: Tensor | None,
    p: Tensor,
    q: Tensor,
    more: Tensor,
    further: Sequence[int],
    targets: Targets | None,
    temperature: float,
    chunk_size: int | None,
    ranks: Ranks,
    drawn: Tensor | None,
    needs: tuple[bool, bool, bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """The rows of the anchors p, and the gradients for p and q, all unit rows."""
    rest = temperature, chunk_size, ranks
    if targets is None:
        return ring.infonce(scale, p, q, more, further, *rest, drawn, needs)
    return ring.soft_infonce(scale, p, q, more, further, targets, *rest, needs)


def _scale(
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
    return _attached(total * each, inputs, gradients[: len(inputs)], _factor(ranks, ddp))


def _factor(ranks: Ranks, ddp: bool) -> int:
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


def _attached(
    value: Tensor, inputs: Sequence[Tensor], gradients: Sequence[Tensor], factor: float
) -> Tensor:
    """The value in the inputs' precision, with the given gradients for the inputs that learn.

    These are multiplied by ``factor``. Backward needs no other rank.
    """
    value = value.to(inputs[0].dtype)
    pairs = [(x, g.mul_(factor)) for x, g in zip(inputs, gradients, strict=True) if _learns(x)]
    if not pairs:
        return value
    apply: Any = _Known.apply
    known: Tensor = apply(value, len(pairs), *(x for x, _ in pairs), *(g for _, g in pairs))
    return known
