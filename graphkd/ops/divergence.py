"""Divergences between distributions given by their logarithms, differentiable to any order."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from graphkd._precision import differentiated, quick, traced

Spread = Callable[[Tensor], Tensor]

# exp(-x) - 1 + x = x² (1/2! - x/3! + x²/4! - …) for |x| <= 1/2: the terms that a precision needs.
_RADIUS = 0.5
_TERMS = {torch.float32: 8, torch.float64: 16}
# If the logits of the sides lie so far apart, their difference has lost its digits.
_FAR = 32.0
# The logarithm of the least probability in float32.
_LEAST = math.log(torch.finfo(torch.float32).tiny)
# Up to here, h(y) of the Jensen–Shannon divergence comes from tanh y.
_MIDDLE = 1.0
# A class with so large a log-ratio belongs to one side alone.
_ALL = 200.0


def _coefficients(count: int) -> list[float]:
    # Not a constant: torch.compile makes the floats of a global list inputs of the graph, and fails
    # if a second Function in the graph reads them.
    return [(-1) ** k / math.factorial(k) for k in range(2, 2 + count)]


@quick
class _Excess(torch.autograd.Function):
    """exp(−x) − 1 + x for |x| ≤ 1/2, without cancellation.

    The derivative is known, so that the backward pass keeps no term of the series.
    """

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        *lower, second, highest = _coefficients(_TERMS[x.dtype])
        total = x.mul(highest).add_(second)
        for coefficient in reversed(lower):
            total.mul_(x).add_(coefficient)
        return total.mul_(x).mul_(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (x,) = ctx.saved_tensors
        return -grads[0] * (-x).expm1()


def _excess(x: Tensor) -> Tensor:
    value: Tensor = differentiated(_Excess, x, lawful=True)
    return value


def kl_terms(delta: Tensor, log_q: Tensor, log_p: Tensor) -> Tensor:
    r"""Non-negative terms whose sum is KL(q ‖ p), accurate where q and p nearly agree.

    .. math:: q\,g(\Delta), \quad \Delta = \log q - \log p, \quad g(x) = e^{-x} - 1 + x

    Their sum is :math:`\sum q\Delta - q + p`, the divergence, since q and p both sum to one.
    For large :math:`|\Delta|` each term takes that last form, because :math:`e^{-\Delta}`
    would overflow. It is p for a class without probability in q, and infinite for one without
    probability in p only.

    Args:
        delta: :math:`\Delta` from :func:`log_ratio`, which has no cancellation where it is small.
        log_q: :math:`\log q`.
        log_p: :math:`\log p`.
    """
    q = log_q.exp()
    near = delta.abs() <= _RADIUS
    if not traced() and bool(near.all()):
        return q * _excess(delta)
    # Where one branch is taken, the other one sees harmless values: its infinite derivative times
    # zero would be NaN.
    close = q * _excess(delta.masked_fill(~near, 0))
    far = q * delta.masked_fill(near | (q == 0), 0) - q + log_p.exp()
    return torch.where(near, close, far)


def kl_slope(delta: Tensor, log_q: Tensor, log_p: Tensor) -> Tensor:
    r"""The derivative of KL(q ‖ p) for the logits of p, which is p − q, without cancellation."""
    return -(log_q.exp() + log_p.exp()) * (delta / 2).tanh()


def _row_total(x: Tensor) -> Tensor:
    return x.sum(dim=-1, keepdim=True)


def log_ratio(
    difference: Tensor, log_q: Tensor, log_p: Tensor, total: Spread = _row_total
) -> Tensor:
    r"""Give log q − log p of two softmaxes, with the digits of the difference of their logits.

    .. math:: \Delta_c = \delta_c - \log \sum_k p_k\,e^{\delta_k}

    Here :math:`\delta` is the logits of q minus the logits of p. A difference of two log-softmaxes
    has lost its digits where they nearly agree, but it says the logarithm well enough for one step
    of Newton's method on :math:`\sum (q - p) = \sum (p + q) \tanh(\Delta/2) = 0`. A class that
    neither side gives any probability does not enter, whatever its logits; its ratio may be 0.

    Args:
        difference: :math:`\delta`.
        log_q: :math:`\log q`.
        log_p: :math:`\log p`.
        total: The sum over each distribution, given to each of its entries; default: over each row.
    """
    rough = log_q - log_p
    rough = rough.masked_fill((log_q == -torch.inf) & (log_p == -torch.inf), 0)
    with torch.no_grad():
        q, p = log_q.exp(), log_p.exp()
        both = torch.minimum(q, p)
        # A class that one side has lost may differ by anything, and weights must keep their digits.
        both = both.masked_fill(both < torch.finfo(both.dtype).tiny ** 0.5, 0)
        fine, near = (x.masked_fill(both == 0, 0) for x in (difference, rough))
        constant = total(both * (fine - near)) / total(both)
        shared = (both > 0) & (constant.abs() < _FAR)
        fine = fine - constant
        fine = fine - total(torch.where(shared, (q + p) * (fine / 2).tanh(), q - p))
        fine = fine.detach()  # no_grad alone keeps the derivatives of forward mode
    # The derivatives of the rough ratio are exact.
    return torch.where(shared, fine + (rough - rough.detach()), rough)


def softmax_kl(logits_q: Tensor, logits_p: Tensor, difference: Tensor | None = None) -> Tensor:
    """KL(softmax(logits_q) ‖ softmax(logits_p)) along the last dimension.

    ``difference`` is logits_q − logits_p, if it is known more exactly.
    """
    log_q, log_p = logits_q.log_softmax(dim=-1), logits_p.log_softmax(dim=-1)
    difference = logits_q - logits_p if difference is None else difference
    return kl_terms(log_ratio(difference, log_q, log_p), log_q, log_p).sum(dim=-1)


def softmax_divergence(logits_q: Tensor, logits_p: Tensor, difference: Tensor, kind: str) -> Tensor:
    """The divergence of the softmaxes q and p along the last dimension; both sides may learn.

    Args:
        logits_q: The logits of q.
        logits_p: The logits of p.
        difference: The first minus the second, as exact as it is known.
        kind: ``"kl"`` for KL(q ‖ p), ``"reverse_kl"`` for KL(p ‖ q), or ``"js"`` for the divergence
            of Jensen and Shannon, which is the mean of both sides' divergences from (p + q) / 2.
    """
    log_q, log_p = logits_q.log_softmax(dim=-1), logits_p.log_softmax(dim=-1)
    delta = log_ratio(difference, log_q, log_p)
    if kind == "kl":
        return kl_terms(_where_held(delta, log_q), log_q, log_p).sum(dim=-1)
    if kind == "js":
        # Rounding may carry the sum past the bound.
        return js_terms(delta, log_q, log_p).sum(dim=-1).clamp(max=math.log(2))
    delta = _where_held(-delta, log_p)
    # Beyond, the product with a temperature may overflow. No mask in use but −∞ comes near.
    lost = delta > torch.finfo(delta.dtype).max ** 0.5
    # The student learns, and so does the factor of the infinite logarithm. Its gradient is that of
    # a teacher who gives the class the least probability: finite, it drives the student out.
    values = kl_terms(delta.masked_fill(lost, -_LEAST), log_p, log_q).sum(dim=-1)
    return values + torch.zeros_like(values).masked_fill(lost.any(dim=-1), torch.inf)


def _where_held(delta: Tensor, log_q: Tensor) -> Tensor:
    """The log-ratio, not too large where q has so little of a class that it adds nothing.

    In float64, even the exponential of a mask such as −10⁴ over a temperature may be above 0.
    """
    return delta.masked_fill((log_q.detach() < _LEAST) & (delta > -_LEAST), -_LEAST)


def js_terms(delta: Tensor, log_q: Tensor, log_p: Tensor) -> Tensor:
    r"""Non-negative terms whose sum is the divergence of Jensen and Shannon of q and p.

    .. math:: \tfrac12 (p + q)\, h(\tfrac\Delta2), \qquad h(y) = y \tanh y - \log\cosh y

    Here h is :math:`\log 2` minus the entropy of q's share of a class, accurate where q and p
    nearly agree: :math:`\log\cosh y = -\frac12 \log(1 - \tanh^2 y)`. For large y, it comes from
    :math:`e^{-2|y|}`. The arguments are those of :func:`kl_terms`.
    """
    near = delta.abs() <= 2 * _MIDDLE
    y = delta.masked_fill(~near, 0) / 2
    tanh = y.tanh()
    close = y * tanh + (-tanh.square()).log1p() / 2
    # Where one branch is taken, the other one sees harmless values, as in ``kl_terms``; and at
    # infinity a product would be NaN.
    size = delta.abs().masked_fill(near, 1).clamp(max=_ALL)
    far = math.log(2) - size * (-size).sigmoid() - F.softplus(-size)
    return (log_q.exp() + log_p.exp()) / 2 * torch.where(near, close, far)
