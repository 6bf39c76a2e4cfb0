"""Soft targets: the divergence of a student's softmaxes or sigmoids from a teacher's, by rows.

Replaces ``T**2 * F.kl_div((s / T).log_softmax(1), (t / T).softmax(1), reduction="none").sum(1)``.
The forward pass also makes the gradient, a block of rows at a time: a block stays in a core's
cache, and nothing but the inputs and the gradient has the size of the logits.
"""

import math

import torch
from torch import Tensor

from graphkd.ops._autograd import by_hand
from graphkd.ops._blocks import cached_rows, slices
from graphkd.ops.chunked.soft_rows import sigmoid_rows, softmax_rows
from graphkd.ops.reference.soft_targets import Softening, centred
from graphkd.ops.reference.soft_targets import soft_targets as law
from graphkd.similarity import unit_and_inverse


def _forward(
    s: Tensor, t: Tensor, how: Softening, need_s: bool, need_t: bool
) -> tuple[Tensor, Tensor]:
    """The values or their mean, and q − p of each row, which is the gradient up to a factor."""
    n, width = s.shape
    pull = torch.empty_like(s, memory_format=torch.contiguous_format)
    size = cached_rows(width)
    if s.numel() == 0:
        values = s.new_zeros(n)
    elif n <= size:
        values = _block(s, t, how, pull)
    else:
        values = s.new_empty(n)
        for i in slices(n, size):
            values[i] = _block(s[i], t[i], how, pull[i])
    factor = how.temperature**2 / (1 if how.kind == "softmax" else max(width, 1))
    if how.reduction == "none":
        return values.mul_(factor), pull
    # In float64, the sum adds nothing to the rows' errors, which cancel in it.
    rows = max(n, 1) if how.reduction == "mean" else 1
    return values.sum(dtype=torch.float64).mul_(factor / rows).to(s.dtype), pull


def _block(s: Tensor, t: Tensor, how: Softening, out: Tensor) -> Tensor:
    """KL(q_i ‖ p_i) of a block of rows, of sigmoids in sum; q − p goes to ``out``."""
    if how.degrees:
        return _standardised(s, t, how.temperature, how.degrees, out)
    of_rows = softmax_rows if how.kind == "softmax" else sigmoid_rows
    return of_rows(s, t, t - s, 1 / how.temperature, out)


def _standardised(s: Tensor, t: Tensor, temperature: float, degrees: int, out: Tensor) -> Tensor:
    """The same of standard scores: ``out`` becomes their q − p, carried back to the logits."""
    (u, inverse), (v, _) = (unit_and_inverse(centred(z)) for z in (s, t))
    root = math.sqrt(degrees)
    difference, u, v = (x.to(s.dtype) for x in (v - u, u, v))
    values = softmax_rows(u, v, difference, root / temperature, out)
    out.addcmul_(u, torch.linalg.vecdot(u, out).unsqueeze(1), value=-1)
    out.sub_(out.mean(dim=1, keepdim=True)).mul_(inverse.mul_(root).to(s.dtype))
    return values


def _backward(
    grad: Tensor, pull: Tensor, s: Tensor, t: Tensor, how: Softening
) -> tuple[Tensor, Tensor]:
    factor = -how.temperature / (1 if how.kind == "softmax" else s.size(1))
    if how.reduction == "mean":
        factor /= max(s.size(0), 1)
    each = grad * factor
    return pull * (each.unsqueeze(-1) if how.reduction == "none" else each), t.new_empty(0)


soft_targets = by_hand(law, _forward, _backward, reads=False)
