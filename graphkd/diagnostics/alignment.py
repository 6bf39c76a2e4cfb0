"""How well two spaces fit onto each other as wholes: CKA and the Procrustes disparity."""

import torch
from torch import Tensor

from graphkd._checks import check_flag
from graphkd._precision import full_precision
from graphkd.diagnostics._gate import matched_sides
from graphkd.diagnostics._moments import Second, side_moments

# Of a sum that is zero, rounding leaves less than this part of its terms.
_LEAST = 1e-12


def linear_cka(h_s: Tensor, h_t: Tensor, *, debiased: bool = False) -> Tensor:
    r"""Centred kernel alignment of linear kernels: one minus :func:`graphkd.functional.cka_loss`.

    .. math::
        \frac{\lVert \bar S^\top \bar T\rVert_F^2}
             {\lVert \bar S^\top \bar S\rVert_F \lVert \bar T^\top \bar T\rVert_F},
        \qquad \bar S = S - \tfrac1N \mathbf 1 \mathbf 1^\top S

    It lies between 0 and 1, and does not depend on shifts, on the scale, or on rotations of either
    side. Of unrelated spaces it is about :math:`\sqrt{d_s d_t}/N`, and not 0. With
    ``debiased=True`` it is 0 on average, and lies between -1 and 1: the pairs of a row with itself
    are left out, as :func:`graphkd.functional.cka_loss` says.

    A side whose rows are all equal is like nothing, 0, but another such side, 1, as in the loss.
    For the debiased one, rows that are all equally far apart count as equal, and so do any three
    rows. The measure of no rows is NaN.

    It takes :math:`O(N d^2)`, and memory for a block of rows and :math:`d \times d` moments.

    Args:
        h_s: Student embeddings.
        h_t: Teacher embeddings, of any width.
        debiased: Whether the alignment of unrelated spaces is 0 on average.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **output:** scalar, in float64

    Raises:
        ValueError: If row counts or devices differ, an input is not two-dimensional, or
            ``debiased`` is not a bool.
        TypeError: If an input is not a floating-point tensor.

    Source: Kornblith, Norouzi, Lee and Hinton, ICML 2019, arXiv 1905.00414; debiased as in Nguyen,
    Raghu and Kornblith, ICLR 2021, arXiv 2010.15327, with the estimate of Song et al., JMLR 2012.

    Example:
        >>> import torch
        >>> from graphkd.diagnostics import linear_cka
        >>> h_t = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> linear_cka(h_t[:, :1], h_t)     # 2²/(2 √8)
        tensor(0.7071, dtype=torch.float64)
    """
    check_flag("linear_cka: debiased", debiased)
    h_s, h_t = matched_sides("linear_cka", h_s, h_t)
    with torch.no_grad(), full_precision(h_s.device):
        return cka(side_moments(h_s, h_t).second, debiased=debiased)


def procrustes_disparity(h_s: Tensor, h_t: Tensor) -> Tensor:
    r"""What is left of one space after the best rotation, shift and scaling onto the other.

    .. math::
        1 - \lVert \bar S^\top \bar T\rVert_*^2, \qquad
        \lVert \bar S\rVert_F = \lVert \bar T\rVert_F = 1

    The columns are centred, and :math:`\lVert\cdot\rVert_*` is the sum of the singular values. It
    lies between 0, for spaces that are equal up to shift, scale and rotation, and 1; so smaller is
    more alike. The narrower side counts as padded with zeros. It is ``scipy.spatial.procrustes``'s
    disparity, of any widths and without an N × N or padded matrix. Rounding is about 1e-15, so that
    a disparity below has no digits.

    If all rows of one side are equal, it is 1, and 0 if this is so on both sides. Of no rows it is
    NaN.

    It takes :math:`O(N d^2 + d^3)`, and memory for a block of rows and :math:`d \times d` moments.

    Args:
        h_s: Student embeddings.
        h_t: Teacher embeddings, of any width.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **output:** scalar, in float64

    Raises:
        ValueError: If row counts or devices differ, or an input is not two-dimensional.
        TypeError: If an input is not a floating-point tensor.

    Source: Schönemann, "A generalized solution of the orthogonal Procrustes problem", Psychometrika
    1966; as a disparity, scipy's.

    Example:
        >>> import torch
        >>> from graphkd.diagnostics import procrustes_disparity
        >>> h_t = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> procrustes_disparity(h_t[:, :1], h_t)     # 1 - 2²/(2 · 4)
        tensor(0.5000, dtype=torch.float64)
    """
    h_s, h_t = matched_sides("procrustes_disparity", h_s, h_t)
    with torch.no_grad(), full_precision(h_s.device):
        return disparity(side_moments(h_s, h_t).second)


def cka(m: Second, *, debiased: bool = False) -> Tensor:
    """CKA, from the second moments of the rows."""
    whole = [x.pairs for x in m.three]
    if not debiased:
        return _alike(m.n, whole, torch.zeros_like(whole[0])).clamp(max=1)
    # The inner products of U-centred Gram matrices, which have no diagonal.
    part = m.n / max(m.n - 2, 1)
    three = [x.pairs - x.diagonal - part * x.lengths for x in m.three]
    return _alike(m.n, three, _LEAST * torch.stack(whole[1:])).clamp(min=-1, max=1)


def disparity(m: Second) -> Tensor:
    """The Procrustes disparity, from the second moments of the rows."""
    cross = m.cross[:-2, :-2]
    unknown = ~cross.isfinite().all()
    # The decomposition refuses NaN.
    nuclear = torch.linalg.svdvals(cross.masked_fill(unknown, 0)).sum()
    three = [nuclear.masked_fill(unknown, torch.nan), *m.squares]
    return (1 - _alike(m.n, three, torch.zeros_like(nuclear)).square()).clamp(min=0)


def _alike(n: int, three: list[Tensor], least: Tensor) -> Tensor:
    """x_st / √(x_ss x_tt); if one side does not vary, 0, and 1 if neither does. NaN of no rows."""
    cross, own = three[0], torch.stack(three[1:])
    still = own <= least
    value = cross / own.masked_fill(still, 1).sqrt().prod()
    value = value.masked_fill(still.any(), 0).masked_fill(still.all(), 1)
    unknown = cross.isnan() if n else torch.ones_like(cross, dtype=torch.bool)
    return value.masked_fill(unknown, torch.nan)
