"""Soft targets in their obvious form: the divergence of softmaxes, or of sigmoids, of each row.

To try another divergence, change it here, and let ``soft_targets`` of ``ops/row_primitives.py``
always take this way.
"""

import math

import torch
from torch import Tensor

from graphkd._precision import exact, traced
from graphkd.ops.divergence import softmax_kl
from graphkd.similarity import unit_rows


def soft_targets(
    s: Tensor, t: Tensor, temperature: float, kind: str, degrees: int, reduction: str = "none"
) -> Tensor:
    """T² KL(q_i ‖ p_i) of each row i; for ``kind="sigmoid"``, the mean over its columns.

    Args:
        s: Student logits.
        t: Teacher logits.
        temperature: T.
        kind: ``"softmax"`` or ``"sigmoid"``: how q and p follow from logits divided by T.
        degrees: The denominator of the variance by which rows become standard scores; 0 leaves
            them as they are.
        reduction: ``"none"``, or the ``"mean"`` or ``"sum"`` of these values.
    """
    if degrees:
        x, y = (unit_rows(centred(z)) * (math.sqrt(degrees) / temperature) for z in (s, t))
    else:
        x, y = s / temperature, t / temperature
    if kind == "softmax":
        rows = softmax_kl(y, x)
    else:
        # A sigmoid is a softmax against a logit of zero.
        x, y = (torch.stack([z, torch.zeros_like(z)], dim=-1) for z in (x, y))
        rows = softmax_kl(y, x).mean(dim=1)
    return reduced((temperature**2 * rows).to(s.dtype), reduction)


def reduced(values: Tensor, reduction: str) -> Tensor:
    """The values, their sum or their mean; the mean of none is 0."""
    if reduction == "none":
        return values
    if reduction == "sum":
        return values.sum()
    if traced() or values.size(0) == 0:
        return values.sum() / max(values.size(0), 1)
    return values.mean()


def centred(z: Tensor) -> Tensor:
    """Each row minus its mean, in float64. A logit of −∞ is so low that it alone sets the scale."""
    z = exact(z)
    z = z.clamp(min=-(torch.finfo(z.dtype).max ** 0.4))
    # Subtracting the mean undoes any shift of a row. After this shift, equal logits are exactly
    # zero; without it, their mean may be off by a rounding.
    z = z - z.detach().amax(dim=1, keepdim=True)
    return z - z.mean(dim=1, keepdim=True)
