"""Centred kernel alignment (CKA) of linear kernels."""

import torch
from torch import Tensor

from graphkd._checks import check_flag
from graphkd._precision import exact, full_precision
from graphkd.functional._options import check_reduction
from graphkd.functional._rows import matched_rows, reduce_rows, row_weights
from graphkd.functional.pairs._moment_forms import of_one_width, over_largest, squared_lengths


def check_cka_options(loss: str, *, debiased: bool, reduction: str) -> None:
    """Raise on an option of CKA that is out of range."""
    check_reduction(loss, reduction)
    check_flag(f"{loss}: debiased", debiased)


def cka_loss(
    h_s: Tensor,
    h_t: Tensor,
    *,
    debiased: bool = False,
    weight: Tensor | None = None,
    index: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""One minus the linear centred kernel alignment.

    Replaces ``1 - (s.T @ t).norm() ** 2 / (s.T @ s).norm() / (t.T @ t).norm()`` with
    centred columns, ``s = h_s - h_s.mean(0)``. That form loses its digits near zero.

    .. math::
        L = 1 - \frac{\lVert S^\top T\rVert_F^2}{\lVert S^\top S\rVert_F \lVert T^\top T\rVert_F}
          = \frac12 \left\lVert \frac{S S^\top}{\lVert S S^\top\rVert_F}
                              - \frac{T T^\top}{\lVert T T^\top\rVert_F} \right\rVert_F^2

    The loss lies between 0 and 1 and does not depend on shifts, on the scale, or on rotations of
    either side. The widths may differ. The second form splits into rows: row i has
    :math:`N/2 \sum_j` of the squared gaps. It is computed in float64 from :math:`d \times d`
    moments of the difference and the mean of the two sides, in :math:`O(N d^2)`.

    If all rows of one side are equal, the alignment is 0 and the loss 1, without a gradient. If
    this is so on both sides, the loss is 0.

    With few rows, the alignment of unrelated embeddings is far from 0: it is about
    :math:`\sqrt{d_s d_t}/N` for N well above the widths, and nears 1 below them. With
    ``debiased=True`` it is 0 on average: the Gram matrices lose their diagonal and are U-centred,

    .. math::
        \tilde K_{ij} = K_{ij} - \frac{\sum_{l\ne i} K_{il} + \sum_{l\ne j} K_{lj}}{N - 2}
            + \frac{\sum_{k\ne l} K_{kl}}{(N - 1)(N - 2)}, \quad i \ne j,

    so that their inner products are unbiased estimates of HSIC. The loss then lies between 0 and 2.
    Rows that are all equally far apart count as equal rows, and so do any three rows.

    Args:
        h_s: Student embeddings.
        h_t: Teacher embeddings; they get no gradient.
        debiased: Whether the alignment of unrelated embeddings is 0 on average.
        weight: A weight for each row i, not negative, before ``index``; it does not weigh the
            partners of i. The mean divides by the weights' sum. It gets a gradient if it requires
            one.
        index: Boolean mask or row numbers of the rows that take part; selection precedes centring.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (N times each row's part).

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **weight:** :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If row counts or devices differ, an input is not two-dimensional, ``weight`` is
            negative, or an option is out of range.
        TypeError: If an input is not a floating-point tensor.
        IndexError: If ``index`` names a row that does not exist.

    Source: the index of Kornblith, Norouzi, Lee and Hinton, ICML 2019, arXiv 1905.00414, as a loss;
    debiased as in Nguyen, Raghu and Kornblith, ICLR 2021, arXiv 2010.15327, with the estimate of
    Song et al., JMLR 2012.

    Example:
        >>> import torch
        >>> from graphkd.functional import cka_loss
        >>> h_t = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> cka_loss(h_t[:, :1], h_t)     # 1 - 2²/(2 √8)
        tensor(0.2929)
    """
    loss = "cka_loss"
    check_cka_options(loss, debiased=debiased, reduction=reduction)
    s, t, chosen = matched_rows(loss, h_s, h_t, index)
    weight = row_weights(loss, weight, h_s, chosen)
    with full_precision(s.device):
        dtype = s.dtype
        s, t = of_one_width(s, t)
        (s, u, varies_s), (t, v, varies_t) = _aligned(s, debiased), _aligned(t, debiased)
        # With s = m + d/2 and t = m - d/2, the gap of a pair is ⟨d_i, m_j⟩ + ⟨m_i, d_j⟩. For u
        # and v, d gets one more column, u - v, and m a column of ones.
        apart, middle = _joined(s - t, u - v), _joined((s + t) / 2, torch.ones_like(u))
        squares = _row_squares(apart, middle, debiased) * (s.size(0) / 2)
        return reduce_rows((squares + (varies_s != varies_t) / 2).to(dtype), reduction, weight)


def _aligned(h: Tensor, debiased: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Rows x and numbers u such that the matrix of ⟨x_i, x_j⟩ + u_i + u_j has the norm 1.

    It is the centred Gram matrix, with u = 0, or the U-centred one, which has no diagonal. The
    third value is false if the matrix is zero, which has no norm to divide by.
    """
    h, n = exact(h), h.size(0)
    # A constant shift changes nothing. It makes equal rows exactly zero, so that none is rounded.
    first = torch.cat([h.detach()[:1], h.new_zeros(1, h.size(1))])[0]
    x = over_largest(h - first)
    x = x - x.mean(dim=0)
    u, square = x.new_zeros(n), (x.T @ x).square().sum()
    least = torch.zeros_like(square)
    if debiased:
        least = 1e-12 * square  # rounding leaves less if all rows are equally far apart
        # A row of the centred matrix sums to 0, and so to -⟨x_i, x_i⟩ without its diagonal.
        length = x.square().sum(dim=1)
        u = (length - length.sum() / (2 * max(n - 1, 1))) / max(n - 2, 1)
        square = _row_squares(_joined(x, u), _joined(x / 2, torch.ones_like(u)), debiased).sum()
    varies = square.isnan() | (square > least)
    norm = square.masked_fill(~varies, 1).sqrt()
    return (x / norm.sqrt()).masked_fill(~varies, 0), (u / norm).masked_fill(~varies, 0), varies


def _joined(x: Tensor, column: Tensor) -> Tensor:
    return torch.cat([x, column.unsqueeze(1)], dim=1)


def _row_squares(d: Tensor, m: Tensor, debiased: bool) -> Tensor:
    """For every row i, the sum of (⟨d_i, m_j⟩ + ⟨m_i, d_j⟩)² over all j, or over j ≠ i."""
    squares = squared_lengths(m, d, d, m)
    if not debiased:
        return squares
    own: Tensor = 2 * torch.linalg.vecdot(d, m)
    return (squares - own.square()).clamp(min=0)
