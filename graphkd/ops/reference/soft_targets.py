"""Soft targets in their obvious form: the divergence of softmaxes, or of sigmoids, of each row.

To try another divergence, change it here, and let ``soft_targets`` of ``ops/row_primitives.py``
always take this way.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from graphkd._precision import exact
from graphkd.ops.backends import mean_of
from graphkd.ops.divergence import softmax_kl
from graphkd.similarity import unit_rows


class Softening(NamedTuple):
    """How distributions follow from logits, and what is made of their divergences."""

    temperature: float = 1.0
    kind: str = "softmax"
    """``"softmax"`` or ``"sigmoid"``, of logits divided by the temperature."""
    degrees: int = 0
    """The denominator of the variance by which rows become standard scores; 0: they do not."""
    reduction: str = "none"
    """``"none"``, or the ``"mean"`` or ``"sum"`` of the rows' values."""


def soft_targets(s: Tensor, t: Tensor, how: Softening) -> Tensor:
    """T² KL(q_i ‖ p_i) of each row i; for ``kind="sigmoid"``, the mean over its columns."""
    if how.degrees:
        factor = math.sqrt(how.degrees) / how.temperature
        x, y = (unit_rows(centred(z)) * factor for z in (s, t))
    else:
        x, y = s / how.temperature, t / how.temperature
    if how.kind == "softmax":
        rows = softmax_kl(y, x)
    else:
        # A sigmoid is a softmax against a logit of zero.
        x, y = (torch.stack([z, torch.zeros_like(z)], dim=-1) for z in (x, y))
        rows = softmax_kl(y, x).mean(dim=1)
    values: Tensor = (how.temperature**2 * rows).to(s.dtype)
    if how.reduction == "none":
        return values
    return values.sum() if how.reduction == "sum" else mean_of(values)


def centred(z: Tensor) -> Tensor:
    """Each row minus its mean, in float64. A logit of −∞ is so low that it alone sets the scale."""
    z = exact(z)
    z = z.clamp(min=-(torch.finfo(z.dtype).max ** 0.4))
    # Subtracting the mean undoes any shift of a row. After this shift, equal logits are exactly
    # zero; without it, their mean may be off by a rounding.
    z = z - z.detach().amax(dim=1, keepdim=True)
    return z - z.mean(dim=1, keepdim=True)
