"""Divergences between distributions given by their logarithms."""

import math

import torch
from torch import Tensor

# exp(-x) - 1 + x = x² (1/2! - x/3! + x²/4! - …): 16 terms reach float64 for |x| <= 1/2.
_RADIUS = 0.5
_COEFFICIENTS = [(-1) ** k / math.factorial(k) for k in range(2, 18)]


def _excess(x: Tensor) -> Tensor:
    """exp(−x) − 1 + x for |x| ≤ 1/2, without cancellation."""
    total = torch.full_like(x, _COEFFICIENTS[-1])
    for coefficient in reversed(_COEFFICIENTS[:-1]):
        total = total * x + coefficient
    return total * x * x


def kl_terms(log_q: Tensor, log_p: Tensor) -> Tensor:
    r"""Non-negative terms whose sum is KL(q ‖ p), accurate where q and p nearly agree.

    .. math:: q\,g(\Delta), \quad \Delta = \log q - \log p, \quad g(x) = e^{-x} - 1 + x

    Their sum is :math:`\sum q\Delta - q + p`, the divergence, since q and p both sum to one.
    For large :math:`|\Delta|` that last form is used term by term, as :math:`e^{-\Delta}`
    would overflow.
    """
    delta = log_q - log_p
    q = log_q.exp()
    near = delta.abs() <= _RADIUS
    # Each branch sees harmless values where the other one is taken, or its infinite derivative
    # times zero would be NaN.
    close = q * _excess(delta.masked_fill(~near, 0))
    far = q * delta - q + log_p.exp()
    return torch.where(near, close, far)
