"""G-CRD over the ranks of a process group."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from graphkd._precision import exact, full_precision
from graphkd.distributed import Ranks, meet, reporting
from graphkd.functional._options import PairOptions
from graphkd.functional._ranked import attached, factor, learns, ranked_sum, scale_of
from graphkd.functional._rows import check_generator
from graphkd.ops import ring
from graphkd.ops.reference.soft_infonce import Targets
from graphkd.similarity import unit_and_inverse, unit_gradient_


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
        needs=[learns(p), learns(q)],
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
    needs = learns(p), learns(q)
    learned = isinstance(temperature, Tensor) and learns(temperature)
    with torch.no_grad(), full_precision(p.device):
        sides = [x.detach() if targets is None else exact(x.detach()) for x in (p, q)]
        (unit_p, inverse_p), (unit_q, inverse_q) = map(unit_and_inverse, sides)
        unit_more = unit_and_inverse(more)[0]
        drawn = None
        if num_negatives is not None and num_negatives < n:
            drawn = ranks.draw(num_negatives, generator, p.device)
        each, scale = 1.0 / n if how.reduction == "mean" else 1.0, None
        if isinstance(known := scale_of(weight, how.reduction, ranks)[0], Tensor):
            scale = known.to(p.dtype)
        rest = tau, how.chunk_size, ranks, drawn
        rows, grad_p, grad_q = _one_way(
            scale, unit_p, unit_q, unit_more, further, targets, *rest,
            (needs[0] or learned, needs[1], ranks.needed(1)),
        )  # fmt: skip
        along = _along(grad_p, unit_p) if learned else exact(p.new_zeros(()))
        if symmetric:
            turned = None if targets is None else targets.turned(q)
            back, back_q, back_p = _one_way(
                scale, unit_q, unit_p, unit_more[:0], [0] * ranks.world, turned, *rest,
                (needs[1] or learned, needs[0], ranks.needed(0)),
            )  # fmt: skip
            each, rows = each / 2, (rows + back) / 2
            along = along + _along(back_q, unit_q) if learned else along
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
    zero, pull = torch.zeros_like(value), each * factor(ranks, how.ddp)
    return value.to(p.dtype) + attached(zero, inputs, gradients, pull)


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
