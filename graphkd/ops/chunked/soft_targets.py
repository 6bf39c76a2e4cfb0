"""Soft targets: the divergence of a student's softmaxes or sigmoids from a teacher's, by rows.

Replaces ``T**2 * F.kl_div((s / T).log_softmax(1), (t / T).softmax(1), reduction="none").sum(1)``.
The forward pass also makes the gradient, a block of rows at a time: a block stays in a core's
cache, and nothing but the inputs and the gradient has the size of the logits.
"""

import math
from typing import Any

import torch
from torch import Tensor

from graphkd.ops._autograd import by_hand
from graphkd.ops._blocks import cached_rows, slices
from graphkd.ops.chunked.soft_rows import sigmoid_rows, softmax_rows
from graphkd.ops.reference.soft_targets import centred
from graphkd.ops.reference.soft_targets import soft_targets as law
from graphkd.similarity import unit_and_inverse


def _forward(
    s: Tensor,
    t: Tensor,
    temperature: float,
    kind: str,
    degrees: int,
    need_s: bool,
    need_t: bool,
) -> tuple[Tensor, Tensor]:
    """The values, and q − p of each row, which is the gradient up to a factor."""
    n, width = s.shape
    values, pull = s.new_empty(n), torch.empty_like(s, memory_format=torch.contiguous_format)
    of_rows = softmax_rows if kind == "softmax" else sigmoid_rows
    for i in slices(n, cached_rows(width)):
        x, y, out = (s, t, pull) if n <= i.stop and i.start == 0 else (s[i], t[i], pull[i])
        if degrees:
            values[i] = _standardised(x, y, temperature, degrees, out)
        else:
            half = torch.sub(y, x).div_(2 * temperature)
            values[i] = of_rows(x, y, half, 1 / temperature, out)
    return values.mul_(temperature**2), pull


def _standardised(s: Tensor, t: Tensor, temperature: float, degrees: int, out: Tensor) -> Tensor:
    """The same of standard scores: ``out`` becomes their q − p, carried back to the logits."""
    (u, inverse), (v, _) = (unit_and_inverse(centred(z)) for z in (s, t))
    root = math.sqrt(degrees)
    half = (v - u).mul_(root / (2 * temperature)).to(s.dtype)
    u, v = u.to(s.dtype), v.to(s.dtype)
    values = softmax_rows(u, v, half, root / temperature, out)
    out.addcmul_(u, torch.linalg.vecdot(u, out).unsqueeze(1), value=-1)
    out.sub_(out.mean(dim=1, keepdim=True)).mul_(inverse.mul_(root).to(s.dtype))
    return values


def _backward(
    grad: Tensor, pull: Tensor, s: Tensor, t: Tensor, temperature: float, kind: str, *rest: Any
) -> tuple[Tensor, Tensor]:
    factor = -temperature if kind == "softmax" else -temperature / s.size(1)
    # A mean or a sum gives the same number to every row.
    each = (grad[:1] if grad.stride(0) == 0 else grad).unsqueeze(-1)
    return pull * (each * factor), t.new_empty(0)


soft_targets = by_hand(law, _forward, _backward)
