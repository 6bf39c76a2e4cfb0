"""Soft targets in their obvious form: the divergence of softmaxes, or of sigmoids, of each row.

To try another divergence, change it here, and let ``soft_targets`` of ``ops/row_primitives.py``
always take this way.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from graphkd._precision import exact
from graphkd.ops.backends import mean_of
from graphkd.ops.divergence import softmax_divergence, softmax_kl
from graphkd.similarity import unit_rows


class Softening(NamedTuple):
    """How distributions follow from logits, and what is made of their divergences."""

    temperature: Any = 1.0
    """A number, or a tensor of one or of one for each row, which gets a gradient."""
    kind: str = "softmax"
    """``"softmax"`` or ``"sigmoid"``, of logits divided by the temperature."""
    degrees: int = 0
    """The denominator of the variance by which rows become standard scores; 0: they do not."""
    reduction: str = "none"
    """``"none"``, or the ``"mean"`` or ``"sum"`` of the rows' values."""
    divergence: str = "kl"
    """``"kl"``, ``"reverse_kl"`` or ``"js"``; of sigmoids, ``"kl"`` only."""


def usual(how: Softening) -> bool:
    """Whether it is the case of the form by hand: a number as temperature, and KL(q ‖ p)."""
    return not isinstance(how.temperature, Tensor) and how.divergence == "kl"


def soft_targets(s: Tensor, t: Tensor, how: Softening) -> Tensor:
    """T² D(q_i, p_i) of each row i; for ``kind="sigmoid"``, the mean over its columns.

    All but the usual case is computed in float64: near convergence, the gradient of a temperature
    is the small rest of sums that cancel.
    """
    x, y = (s, t) if usual(how) else (exact(s), exact(t))
    over = temperature = how.temperature
    if isinstance(temperature, Tensor):
        temperature = exact(temperature)
        over = temperature.view(-1, 1)
    if how.degrees:
        factor = math.sqrt(how.degrees) / over
        x, y = (unit_rows(centred(z)) * factor for z in (x, y))
        difference = y - x
    else:
        # The difference of the quotients has lost the digits that the logits' own still has.
        difference = (y - x) / over
        x, y = _softened(x, over), _softened(y, over)
    if how.kind == "sigmoid":
        # A sigmoid is a softmax against a logit of zero.
        x, y, difference = (
            torch.stack([z, torch.zeros_like(z)], dim=-1) for z in (x, y, difference)
        )
    if usual(how):
        rows = softmax_kl(y, x, difference)
    else:
        rows = softmax_divergence(y, x, difference, how.divergence)
    if how.kind == "sigmoid":
        rows = rows.mean(dim=1)
    values: Tensor = (temperature**2 * rows).to(s.dtype)
    if how.reduction == "none":
        return values
    return values.sum() if how.reduction == "sum" else mean_of(values)


def _softened(z: Tensor, temperature: float | Tensor) -> Tensor:
    """Logits over the temperature; a masked class gives the temperature no gradient."""
    if not isinstance(temperature, Tensor):
        return z / temperature
    # The derivative of −∞ / T is not finite, and nor is that of a mask that becomes −∞.
    lost = z / temperature.detach() == -torch.inf
    return (z.masked_fill(lost, 0) / temperature).masked_fill(lost, -torch.inf)


def centred(z: Tensor) -> Tensor:
    """Each row minus its mean, in float64. A logit of −∞ is so low that it alone sets the scale."""
    z = exact(z)
    z = z.clamp(min=-(torch.finfo(z.dtype).max ** 0.4))
    # Subtracting the mean undoes any shift of a row. After this shift, equal logits are exactly
    # zero; without it, their mean may be off by a rounding.
    z = z - z.detach().amax(dim=1, keepdim=True)
    return z - z.mean(dim=1, keepdim=True)
