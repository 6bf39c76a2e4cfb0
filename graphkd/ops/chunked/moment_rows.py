r"""Global LSP's row values for inner products, by d × d moments in float64.

Replaces ``(s @ s.T - t @ t.T).square().mean(dim=1)``. In the terms of ``moments``, and with
M = (S + T)/2, the gap of a pair is ⟨d_i, m_j⟩ + ⟨m_i, d_j⟩. So a row's value is

    (d_i MᵀM d_i + 2 d_i MᵀD m_i + m_i DᵀD m_i) / N.

With weights g, the diagonal of W, the gradient of Σ g_i · row_i is

    2 (W (D SᵀS + T DᵀS) + D SᵀWS + T DᵀWS) / N.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from graphkd._precision import exact, full_precision
from graphkd.ops._autograd import primitive
from graphkd.ops._blocks import height, slices
from graphkd.ops.chunked.moments import HEIGHT, factors_of, moments, pair
from graphkd.similarity import unit_gradient


def moment_gap_rows(s: Tensor, t: Tensor, unit: bool) -> Tensor:
    """The mean over j of (⟨s_i, s_j⟩ − ⟨t_i, t_j⟩)² for every row i, differentiable once in ``s``.

    Args:
        s: Student rows.
        t: Teacher rows, perhaps of another width; they get no gradient.
        unit: Whether rows are divided by their norms first.
    """
    return _moment_gap_rows(s, t, unit)


def _fake(s: Tensor, t: Tensor, unit: bool, need_s: bool, need_t: bool) -> tuple[Tensor, Tensor]:
    width = max(s.size(1), t.size(1))
    return s.new_empty(s.size(0)), exact(s.new_empty(2, width, s.size(1)))


def _forward(s: Tensor, t: Tensor, unit: bool, need_s: bool, need_t: bool) -> tuple[Tensor, Tensor]:
    """The values, and the gradient's two factors SᵀS and DᵀS."""
    with full_precision(s.device):
        gathered = moments(s, t, unit, None, exact(s[:0]).dtype)
        return row_values(s, t, unit, gathered, s.size(0)), factors_of(*gathered, s.size(1))


def row_values(s: Tensor, t: Tensor, unit: bool, gathered: Sequence[Tensor], n: int) -> Tensor:
    """The values of these rows, from the moments of all ``n``."""
    tt, td, dd = gathered
    middle, cross = tt + (td + td.T) / 2 + dd / 4, td + dd / 2
    values = s.new_empty(s.size(0))
    for rows in slices(s.size(0), height(s, HEIGHT)):
        _, target, apart, _ = pair(s, t, rows, unit, tt.dtype)
        mean = target + apart / 2
        form = apart @ middle * apart + 2 * (apart @ cross) * mean + mean @ dd * mean
        # Rounding may leave a tiny negative number.
        values[rows] = (form.sum(dim=1) / n).clamp(min=0)
    return values


def _backward(
    grad: Tensor, factors: Tensor, s: Tensor, t: Tensor, unit: bool, need_s: bool, need_t: bool
) -> tuple[Tensor, Tensor]:
    if not need_s:
        return s.new_empty(0), t.new_empty(0)
    with full_precision(s.device):
        weights = grad.to(factors.dtype)
        heavy = heavy_factors(weights, s, t, unit)
        return row_gradient(weights, factors, heavy, s, t, unit, s.size(0)), t.new_empty(0)


def heavy_factors(weights: Tensor, s: Tensor, t: Tensor, unit: bool) -> Tensor:
    """SᵀWS and DᵀWS of these rows, for the student's width."""
    both = weights.new_zeros(2, max(s.size(1), t.size(1)), s.size(1))
    for rows in slices(s.size(0), height(s, HEIGHT)):
        student, _, apart, _ = pair(s, t, rows, unit, weights.dtype)
        heavy = student[:, : s.size(1)] * weights[rows, None]
        both[0].addmm_(student.T, heavy)
        both[1].addmm_(apart.T, heavy)
    return both


def row_gradient(
    weights: Tensor, factors: Tensor, heavy: Tensor, s: Tensor, t: Tensor, unit: bool, n: int
) -> Tensor:
    """The gradient for these rows, from the factors of all ``n``."""
    gradient = torch.empty_like(s)
    (inner, outer), (heavy_inner, heavy_outer) = factors.unbind(), heavy.unbind()
    for rows in slices(s.size(0), height(s, HEIGHT)):
        student, target, apart, inverse = pair(s, t, rows, unit, factors.dtype)
        pulled = (apart @ inner).addmm_(target, outer).mul_(weights[rows, None])
        pulled.addmm_(apart, heavy_inner).addmm_(target, heavy_outer).mul_(2 / n)
        if inverse is not None:
            pulled = unit_gradient(pulled, student[:, : s.size(1)], inverse)
        gradient[rows] = pulled
    return gradient


_moment_gap_rows = primitive(
    "moment_gap_rows", _forward, _backward, backend="chunked", fake=_fake, keeps=1
)
