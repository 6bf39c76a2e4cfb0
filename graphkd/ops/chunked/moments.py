r"""Global LSP of inner products by d × d moments: no pair of rows is looked at.

Replaces ``F.mse_loss(s @ s.T, t @ t.T)``, with rows divided by their norms or as they are.

Let D = S − T, with the narrower side padded by zeros. With the moments TᵀT, TᵀD and DᵀD, the sum of
all squared gaps is

    Σ_ij (⟨s_i, s_j⟩ − ⟨t_i, t_j⟩)² = 2 (⟨A, DᵀD⟩ + ⟨C, Cᵀ⟩),
    A = TᵀT + (TᵀD + DᵀT)/2 + DᵀD/4,   C = TᵀD + DᵀD/2.

Its gradient for S is 4 (D SᵀS + T DᵀS). Both keep their digits as S approaches T, unlike the
difference of three Grams. If S approaches a rotated T, the two terms of the sum cancel instead. So
products are float64 if the sum is small against its terms, and float32 otherwise.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from graphkd._precision import exact, full_precision
from graphkd.ops._autograd import primitive
from graphkd.ops._blocks import height, slices
from graphkd.similarity import unit_and_inverse, unit_gradient

# Rows in a block: a few buffers of so many rows stay in a core's cache.
HEIGHT = 1024
# Products are float32 if the sum of squares is at least this part of the size of its terms.
_SAFE = 0.05


def moment_gap(s: Tensor, t: Tensor, unit: bool, gram: Tensor | None = None) -> Tensor:
    """The mean over all pairs of (⟨s_i, s_j⟩ − ⟨t_i, t_j⟩)², differentiable once in ``s``.

    Args:
        s: Student rows.
        t: Teacher rows, perhaps of another width; they get no gradient.
        unit: Whether rows are divided by their norms first.
        gram: ``teacher_gram(t, unit)``, if it is known.
    """
    return _moment_gap(s, t, gram, unit)


def teacher_gram(t: Tensor, unit: bool) -> Tensor:
    """TᵀT in float64."""
    total = exact(t.new_zeros(t.size(1), t.size(1)))
    for rows in slices(t.size(0), height(t, HEIGHT)):
        block = exact(t[rows])
        if unit:
            block = unit_and_inverse(block)[0]
        total.addmm_(block.T, block)
    return total


def pair(
    s: Tensor, t: Tensor, rows: slice, unit: bool, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Blocks of S, T and S − T at one width and in one precision, and S's inverse norms, if any.

    Rows are normalised and subtracted in float64: the rounding of a norm would not be small
    against the difference of nearly equal rows.
    """
    student, target, inverse = exact(s[rows]), exact(t[rows]), None
    if unit:
        student, inverse = unit_and_inverse(student)
        target, _ = unit_and_inverse(target)
        inverse = inverse.to(dtype)
    missing = target.size(1) - student.size(1)
    student, target = F.pad(student, (0, max(missing, 0))), F.pad(target, (0, max(-missing, 0)))
    apart = student - target
    return student.to(dtype), target.to(dtype), apart.to(dtype), inverse


def moments(
    s: Tensor, t: Tensor, unit: bool, gram: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """TᵀT, TᵀD and DᵀD, from products in this precision, summed over blocks in float64."""
    width = max(s.size(1), t.size(1))
    tt, td, dd = exact(s.new_zeros(3, width, width)).unbind()
    if gram is not None:
        tt[: t.size(1), : t.size(1)] = gram
    for rows in slices(s.size(0), height(s, HEIGHT)):
        _, target, apart, _ = pair(s, t, rows, unit, dtype)
        if gram is None:
            tt += target.T @ target
        td += target.T @ apart
        dd += apart.T @ apart
    return tt, td, dd


def _fake(
    s: Tensor, t: Tensor, gram: Tensor | None, unit: bool, need_s: bool, need_t: bool
) -> tuple[Tensor, Tensor, Tensor]:
    width = max(s.size(1), t.size(1))
    factors = exact(s.new_empty(2, width, s.size(1)))
    return s.new_empty(()), factors, torch.empty((), dtype=torch.bool, device="cpu")


def _forward(
    s: Tensor, t: Tensor, gram: Tensor | None, unit: bool, need_s: bool, need_t: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The value, the gradient's two factors SᵀS and DᵀS, and whether products were float64."""
    with full_precision(s.device):
        for dtype in precisions(s):
            gathered = moments(s, t, unit, gram, dtype)
            if dtype == precisions(s)[-1] or keeps_digits(*gathered):
                break
        mean, factors = mean_and_factors(*gathered, s.size(0), s.size(1))
        return mean.to(s.dtype), factors, torch.tensor(dtype == factors.dtype, device="cpu")


def precisions(s: Tensor) -> list[torch.dtype]:
    """The precisions to try for products: the rows' own, then float64 if that is too rough."""
    return list(dict.fromkeys((s.dtype, exact(s[:0]).dtype)))


def keeps_digits(tt: Tensor, td: Tensor, dd: Tensor) -> bool:
    """Whether the sum of squares is not small against the size of its terms."""
    total, terms = _sums(*_forms(tt, td, dd), dd)
    # A comparison with NaN gives False. A sum that overflows in float32 may not in float64.
    return bool(total >= _SAFE * terms)


def mean_and_factors(
    tt: Tensor, td: Tensor, dd: Tensor, n: int, width: int
) -> tuple[Tensor, Tensor]:
    """The mean over the pairs of ``n`` rows, and the gradient's factors."""
    total, _ = _sums(*_forms(tt, td, dd), dd)
    return (2 * total / max(n, 1) ** 2).clamp(min=0), factors_of(tt, td, dd, width)


def factors_of(tt: Tensor, td: Tensor, dd: Tensor, width: int) -> Tensor:
    """SᵀS and DᵀS, for the student's ``width``."""
    return torch.stack([tt + td + td.T + dd, td.T + dd])[:, :, :width].contiguous()


def _forms(tt: Tensor, td: Tensor, dd: Tensor) -> tuple[Tensor, Tensor]:
    """A and C."""
    return tt + (td + td.T) / 2 + dd / 4, td + dd / 2


def _sums(middle: Tensor, cross: Tensor, dd: Tensor) -> tuple[Tensor, Tensor]:
    """Half the sum of squares, and the size of its terms."""
    total = (middle * dd).sum() + (cross * cross.T).sum()
    return total, middle.norm() * dd.norm() + cross.square().sum()


def _backward(
    grad: Tensor,
    factors: Tensor,
    widened: Tensor,
    s: Tensor,
    t: Tensor,
    gram: Tensor | None,
    unit: bool,
    need_s: bool,
    need_t: bool,
) -> tuple[Tensor, Tensor]:
    if not need_s:
        return s.new_empty(0), t.new_empty(0)
    dtype = factors.dtype if widened else s.dtype
    with full_precision(s.device):
        return mean_gradient(grad, factors, s, t, unit, s.size(0), dtype), t.new_empty(0)


def mean_gradient(
    grad: Tensor | float,
    factors: Tensor,
    s: Tensor,
    t: Tensor,
    unit: bool,
    n: int,
    dtype: torch.dtype,
) -> Tensor:
    """The gradient of the mean over the pairs of ``n`` rows, for the rows that are here."""
    gradient = torch.empty_like(s)
    inner, outer = (factors * (4 * grad / max(n, 1) ** 2)).to(dtype).unbind()
    for rows in slices(s.size(0), height(s, HEIGHT)):
        student, target, apart, inverse = pair(s, t, rows, unit, dtype)
        pulled = (apart @ inner).addmm_(target, outer)
        if inverse is not None:
            pulled = unit_gradient(pulled, student[:, : s.size(1)], inverse)
        gradient[rows] = pulled
    return gradient


_moment_gap = primitive("moment_gap", _forward, _backward, backend="chunked", fake=_fake, keeps=2)
