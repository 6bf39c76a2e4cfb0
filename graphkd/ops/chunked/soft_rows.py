r"""KL(q ‖ p) of a block of rows, and q − p: the softmaxes or sigmoids of teacher and student.

With :math:`\Delta = \log q - \log p`, both follow from

.. math::
    q - p = (p + q) \tanh\tfrac\Delta2, \qquad
    \mathrm{KL}(q \Vert p) = \sum (q - p)\,\tfrac\Delta2
        + \sum (p + q) \left(\tfrac\Delta2 - \tanh\tfrac\Delta2\right)

without cancellation where the two nearly agree. A class that neither side gives any probability has
the weight p + q = 0, whatever its logits. :math:`\Delta` has all digits of the difference of the
logits; the constant of its row follows from :math:`\sum (q - p) = 0`.

A quick form comes first. The rows whose value is too small for it are computed again, and with care
those whose value is not finite, as with a class that −∞ masks. These functions read values, and are
for the CPU; elsewhere the plain forms of ``ops/divergence.py`` serve.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from graphkd._powers import LOG2_E
from graphkd.ops.divergence import kl_slope, kl_terms, log_ratio

# A class with half a ratio below this has no probability beside the others.
_BOUND = {torch.float32: -20.0, torch.float64: -40.0}
# Up to here, y − tanh y takes its continued fraction. Beyond, the plain difference has its digits.
_NEAR = 0.5
_FRACTION = {torch.float32: (7, 5, 3), torch.float64: (17, 15, 13, 11, 9, 7, 5, 3)}
# Quick values above this have their digits; of n sigmoids, values above this times √n.
_QUICK_SOFTMAX, _QUICK_SIGMOID = 0.02, 0.02
# If the sums of both sides are apart by this factor, the logits less the maximum of their row have
# a better difference.
_FAR = 64.0
# And if a maximum lies farther from 0, as a power of two: then often one class counts, and where
# both sides nearly agree, the digits of the others decide.
_LARGE = 83.0
# Up to this half of the log-ratios, a short series has all digits of a divergence in float32.
_CLOSE = 0.1
# A sigmoid of a logit below this on both sides adds nothing to a sum in float32.
_VANISHED = -80.0

# Student and teacher, or weights and log-ratios.
Pair: TypeAlias = tuple[Tensor, Tensor]


def divergence_and_slope(p: Tensor, q: Tensor, difference: Tensor) -> tuple[Tensor, Tensor]:
    """Each row's KL of the softmaxes of the logits q from those of p, and its slope for p's.

    ``difference`` is q − p, as exact as it is known.
    """
    if p.device.type == "cpu":
        slope = torch.empty_like(p)
        values = softmax_rows(p, q, difference, 1.0, slope)
        return values, slope.neg_()
    log_p, log_q = p.log_softmax(dim=1), q.log_softmax(dim=1)
    delta = log_ratio(difference, log_q, log_p)
    return kl_terms(delta, log_q, log_p).sum(dim=1), kl_slope(delta, log_q, log_p)


def softmax_rows(s: Tensor, t: Tensor, difference: Tensor, scale: float, out: Tensor) -> Tensor:
    """Each row's KL(q ‖ p), for the softmaxes q of ``t * scale`` and p of ``s * scale``.

    Args:
        s: Student logits.
        t: Teacher logits.
        difference: ``t - s``, as exact as it is known.
        scale: The inverse of the temperature.
        out: Where q − p goes. No other argument changes.
    """
    if s.size(1) == 1:  # of one class, both are 1
        return torch.mul(difference, 0, out=out).sum(dim=1)
    # Less the student's maximum, which cancels, exponents are small where it counts, and so are
    # their roundings.
    base = scale * LOG2_E
    top = s.amax(dim=1, keepdim=True).mul_(-base)
    powers = torch.add(top, s, alpha=base).exp2_(), torch.add(top, t, alpha=base).exp2_()
    sums = powers[0].sum(dim=1, keepdim=True), powers[1].sum(dim=1, keepdim=True)
    ratio, easy = torch.div(sums[0], sums[1]), None
    low, high, least, most = map(float, (*ratio.aminmax(), *top.aminmax()))
    if not (low >= 1 / _FAR and high <= _FAR and least >= -_LARGE and most <= _LARGE):
        near = (ratio >= 1 / _FAR) & (ratio <= _FAR)
        easy = (near & (top.abs() <= _LARGE)).squeeze(1)
        if 2 * int(easy.sum()) < s.size(0):
            return _careful_softmax(s, t, difference, scale, out)
    values, finite = _values(*_of_classes(difference, scale, powers, sums, ratio), out)
    if easy is not None or not finite:
        hard = ~values.isfinite() if easy is None else ~(easy & values.isfinite())
        _again(_careful_softmax, hard, values, s, t, difference, scale, out)
    return values


def sigmoid_rows(s: Tensor, t: Tensor, difference: Tensor, scale: float, out: Tensor) -> Tensor:
    """The same for the sigmoids: a row's value is the sum of its columns' divergences."""
    p, q = torch.mul(s, scale).sigmoid_(), torch.mul(t, scale).sigmoid_()
    torch.sub(q, p, out=out)
    # KL(q ‖ p) = log(q/p) − (1 − q)(t − s), which is not finite where p vanishes.
    terms = torch.div(q, p, out=p).log_().addcmul_(q.sub_(1), difference, value=scale)
    values, least = terms.sum(dim=1), _QUICK_SIGMOID * math.sqrt(s.size(1))
    low, high = map(float, values.aminmax())
    if low >= least and high < math.inf:
        return values
    if high < least and _close(difference, 2 * _CLOSE / scale):
        return _close_sigmoids(s, difference, scale, out)
    if not math.isfinite(low + high):
        values = terms.masked_fill_(torch.maximum(s, t) < _VANISHED / scale, 0).sum(dim=1)
    hard = ~((values >= least) & (values < math.inf))
    _again(_careful_sigmoid, hard, values, s, t, difference, scale, out)
    return values


def _close_sigmoids(s: Tensor, difference: Tensor, scale: float, out: Tensor) -> Tensor:
    r"""The same where both sides nearly agree, by series about the middle of the two logits.

    With h half the log-ratio, w the sigmoid of the middle, f = w (1 − w) its slope:

    .. math::
        q - p &= 2 h f \left(1 + \tfrac{h^2}{6} (1 - 6 f)
            + \tfrac{h^4}{120} (1 - 30 f + 120 f^2)\right) + O(h^7) \\
        \mathrm{KL} &= (q - p)\,h
            + h^3 f (1 - 2 w) \left(\tfrac23 + \tfrac{h^2}{15} (1 - 12 f)\right) + O(h^7)
    """
    half = difference * (scale / 2)
    w, no = _yes_and_no(torch.add(half, s, alpha=scale), 1.0)
    f, square = w * no, half * half
    skew = no.sub_(w)
    tail = torch.mul(f, 120).sub_(30).mul_(f).add_(1).mul_(square).div_(20)
    tail.add_(f, alpha=-6).add_(1).mul_(square).div_(6).add_(1)
    torch.mul(f, half, out=out).mul_(tail).mul_(2)
    terms = torch.mul(f, -12, out=tail).add_(1).mul_(square).div_(15).add_(2 / 3)
    terms.mul_(square).mul_(skew).mul_(f).add_(out).mul_(half)
    return terms.sum(dim=1)


def _again(
    careful: Callable[..., Tensor],
    rows: Tensor,
    values: Tensor,
    s: Tensor,
    t: Tensor,
    difference: Tensor,
    scale: float,
    out: Tensor,
) -> None:
    """Compute the marked rows with care, in place."""
    at = rows.nonzero().squeeze(1)
    if at.numel() == rows.numel():
        values.copy_(careful(s, t, difference, scale, out))
    elif at.numel():
        s, t, difference, pull = (x.index_select(0, at) for x in (s, t, difference, out))
        values[at] = careful(s, t, difference, scale, pull)
        out[at] = pull


def _close(x: Tensor, most: float) -> bool:
    """Whether all numbers lie within ±``most``, where a short series serves in float32."""
    if x.dtype != torch.float32:
        return False
    low, high = map(float, x.aminmax())
    return -most <= low and high <= most


def _careful_softmax(s: Tensor, t: Tensor, difference: Tensor, scale: float, out: Tensor) -> Tensor:
    """The same for logits of any size: of each row less its maximum."""
    tops = [z.amax(dim=1, keepdim=True) for z in (s, t)]
    x, z = (torch.sub(z, top).mul_(scale) for z, top in zip((s, t), tops, strict=True))
    apart = tops[1] - tops[0]
    difference = (difference - apart).mul_(scale)
    far = apart.mul_(scale).abs_() > math.log(_FAR)
    if bool(far.any()):
        difference = torch.where(far, z - x, difference)
    sums = x.exp_().sum(dim=1, keepdim=True), z.exp_().sum(dim=1, keepdim=True)
    weight, y = _of_classes(difference, 1.0, (x, z), sums, torch.div(*sums))
    lost = _tame_(y, weight)
    values, _ = _values(weight, y, out)
    return values if lost is None else values.masked_fill_(lost.any(dim=1), math.inf)


def _values(weight: Tensor, y: Tensor, out: Tensor) -> tuple[Tensor, bool]:
    """Each row's divergence, and whether all are finite; q − p goes to ``out``."""
    tilt = _pull(weight, y, 1, out)
    values = torch.add(weight, out).mul_(y).sum(dim=1).sub_(tilt.squeeze(1))
    low, high = map(float, values.aminmax())
    if high < _QUICK_SOFTMAX and _close(y, _CLOSE / 2):
        # Of the excess y − tanh y, two terms of its series are enough.
        y.sub_(tilt, alpha=0.5)
        terms = torch.mul(y, y).mul_(-2 / 15).add_(1 / 3).mul_(y).mul_(y).mul_(weight)
        values = terms.add_(out).mul_(y).sum(dim=1).clamp_(min=0)
    elif not low >= _QUICK_SOFTMAX:
        few = (values < _QUICK_SOFTMAX).nonzero().squeeze(1)
        parts = (x.index_select(0, few) for x in (weight, y.sub_(tilt, alpha=0.5), out))
        values[few] = _total(*parts).sum(dim=1).clamp_(min=0)
    return values, math.isfinite(low + high)


def _careful_sigmoid(s: Tensor, t: Tensor, difference: Tensor, scale: float, out: Tensor) -> Tensor:
    """Each sigmoid is a softmax of two classes."""
    (p, no), (q, no_t) = (_yes_and_no(z, scale) for z in (s, t))
    half = (difference * (scale / 2)).nan_to_num_(nan=0.0, posinf=math.inf, neginf=-math.inf)
    torch.mul(q, no, out=out).addcmul_(p, no_t).mul_(half.tanh_())
    # Both log-ratios are exact up to one constant, and no logit is too large for any of the three.
    constant = torch.maximum(q, no_t).div_(torch.maximum(p, no)).log_()
    yes = t.clamp(max=0).sub_(s.clamp(max=0)).mul_(scale)
    above, above_t = s.relu(), t.relu()
    other = (above - above_t).mul_(scale)
    weight = torch.stack([p + q, no + no_t])
    weight.add_(above.add_(above_t), alpha=0)  # a logit of +∞ must show
    y = torch.stack([yes, other]).add_(constant).mul_(0.5)
    lost, pull = _tame_(y, weight), torch.empty_like(y)
    y.clamp_(min=_BOUND[y.dtype])
    _pull(weight, y, 0, pull)
    return _total(weight, y, pull, lost).sum(dim=0).clamp_(min=0).sum(dim=1)


def _of_classes(difference: Tensor, scale: float, powers: Pair, sums: Pair, ratio: Tensor) -> Pair:
    """The sum p + q, and half the log-ratio up to a small constant of each row."""
    constant = ratio.log().mul_(0.5)
    y = torch.add(constant, difference, alpha=scale / 2).clamp_(min=_BOUND[difference.dtype])
    return powers[0].div_(sums[0]).addcdiv_(powers[1], sums[1]), y


def _yes_and_no(z: Tensor, scale: float) -> Pair:
    """The sigmoids of ``z * scale`` and of its negative, each to its own last digit."""
    z = z * scale
    return z.sigmoid(), z.neg_().sigmoid_()


def _tame_(y: Tensor, weight: Tensor) -> Tensor | None:
    """Take classes that −∞ masks on both sides out of the sums; mark those that only p has lost."""
    if float(y.amax()) < math.inf:
        return None
    y.nan_to_num_(nan=0.0, posinf=math.inf, neginf=-math.inf)
    lost = (y == math.inf) & (weight > 0)
    y.clamp_(max=torch.finfo(y.dtype).max / 8)
    return lost


def _pull(weight: Tensor, y: Tensor, dim: int, out: Tensor) -> Tensor:
    """Make q − p, whose sum is 0. Its sum before is twice what y is too large by in each row."""
    # tanh y = x / (−2 − x) with x = e⁻²ʸ − 1 takes less time, and rounds twice more.
    torch.mul(y, -2, out=out).expm1_()
    out.div_(torch.rsub(out, -2)).mul_(weight)
    tilt = out.sum(dim=dim, keepdim=True)
    out.addcmul_(weight, tilt, value=-0.5)
    return tilt


def _total(weight: Tensor, y: Tensor, pull: Tensor, lost: Tensor | None = None) -> Tensor:
    """The terms of the divergence, without cancellation in their sum."""
    terms = _excess(y).mul_(weight).addcmul_(pull, y)
    return terms if lost is None else terms.masked_fill_(lost, math.inf)


def _excess(y: Tensor) -> Tensor:
    """The gap y − tanh y = y³ / (y² + 3 + y² / (5 + y² / (7 + …)))."""
    near = y.clamp(-_NEAR, _NEAR)
    square = near * near
    first, second, *others = _FRACTION[y.dtype]
    below = (square / first).add_(second)
    for number in others:
        torch.div(square, below, out=below).add_(number)
    result = square.div_(below.add_(square)).mul_(near)
    tanh = F.softshrink(y.tanh(), math.tanh(_NEAR))
    return result.add_(F.softshrink(y, _NEAR)).sub_(tanh)
