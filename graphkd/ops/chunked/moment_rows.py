r"""Global LSP's row values for inner products, by d × d moments in float64.

Replaces ``(s @ s.T - t @ t.T).square().mean(dim=1)``. In the terms of ``moments``, and with
M = (S + T)/2, the gap of a pair is ⟨d_i, m_j⟩ + ⟨m_i, d_j⟩. So a row's value is

    (d_i MᵀM d_i + 2 d_i MᵀD m_i + m_i DᵀD m_i) / N.

With weights g, the diagonal of W, the gradient of Σ g_i · row_i is

    2 (W (D SᵀS + T DᵀS) + D SᵀWS + T DᵀWS) / N.
"""

import torch
from torch import Tensor

from graphkd._precision import exact, full_precision
from graphkd.ops._autograd import empty_gradient, primitive
from graphkd.ops._blocks import height, slices
from graphkd.ops.chunked.moments import HEIGHT, moments, pair
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
        n, wide = s.size(0), exact(s[:0]).dtype
        tt, td, dd = moments(s, t, unit, None, wide)
        middle, cross = tt + (td + td.T) / 2 + dd / 4, td + dd / 2
        values = s.new_empty(n)
        for rows in slices(n, height(s, HEIGHT)):
            _, target, apart, _ = pair(s, t, rows, unit, wide)
            mean = target + apart / 2
            form = apart @ middle * apart + 2 * (apart @ cross) * mean + mean @ dd * mean
            # Rounding may leave a tiny negative number.
            values[rows] = (form.sum(dim=1) / n).clamp(min=0)
        factors = torch.stack([tt + td + td.T + dd, td.T + dd])[:, :, : s.size(1)]
        return values, factors.contiguous()


def _backward(
    grad: Tensor, factors: Tensor, s: Tensor, t: Tensor, unit: bool, need_s: bool, need_t: bool
) -> tuple[Tensor, Tensor]:
    gradient = empty_gradient(s, need_s)
    with full_precision(s.device):
        weights, (inner, outer) = grad.to(factors.dtype)[:, None], factors.unbind()
        heavy_inner, heavy_outer = torch.zeros_like(inner), torch.zeros_like(outer)
        blocks = list(slices(s.size(0), height(s, HEIGHT))) if need_s else []
        for rows in blocks:
            student, _, apart, _ = pair(s, t, rows, unit, factors.dtype)
            heavy = student[:, : s.size(1)] * weights[rows]
            heavy_inner.addmm_(student.T, heavy)
            heavy_outer.addmm_(apart.T, heavy)
        for rows in blocks:
            student, target, apart, inverse = pair(s, t, rows, unit, factors.dtype)
            pulled = (apart @ inner).addmm_(target, outer).mul_(weights[rows])
            pulled.addmm_(apart, heavy_inner).addmm_(target, heavy_outer).mul_(2 / s.size(0))
            if inverse is not None:
                pulled = unit_gradient(pulled, student[:, : s.size(1)], inverse)
            gradient[rows] = pulled
    return gradient, t.new_empty(0)


_moment_gap_rows = primitive(
    "moment_gap_rows", _forward, _backward, backend="chunked", fake=_fake, keeps=1
)
