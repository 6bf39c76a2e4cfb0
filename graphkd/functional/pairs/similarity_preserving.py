"""Similarity-preserving distillation: the rows of the Gram matrices, normalised."""

import torch
from torch import Tensor

from graphkd._precision import full_precision
from graphkd.functional._options import check_reduction
from graphkd.functional._rows import matched_rows, reduce_rows, row_weights
from graphkd.functional.pairs._moment_forms import of_one_width, over_largest, squared_lengths
from graphkd.similarity import unit_rows


def similarity_preserving_loss(
    h_s: Tensor,
    h_t: Tensor,
    *,
    weight: Tensor | None = None,
    index: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Mean squared difference of the Gram matrices, with each row scaled to length one.

    Replaces ``(F.normalize(h_s @ h_s.T) - F.normalize(h_t @ h_t.T)).square().mean()``, exactly and
    without the :math:`N \times N` matrices.

    .. math::
        G = H H^\top, \qquad
        L = \frac1{N^2} \sum_i \left\lVert \frac{G^s_i}{\lVert G^s_i\rVert}
                                         - \frac{G^t_i}{\lVert G^t_i\rVert} \right\rVert^2

    The widths may differ. The value is at most 4/N, and falls as 1/N: a weight tuned at one number
    of nodes does not fit another. A scale of all rows of a side changes nothing; a scale of single
    rows does. A zero row stays zero in the Gram matrix.

    The cost is :math:`O(N d^2)`, in float64: with :math:`a_i = h_i/\lVert H h_i\rVert`, where
    :math:`\lVert H h_i\rVert^2 = h_i^\top (H^\top H) h_i`, a row of the difference is
    :math:`H^s(a^s_i - a^t_i) + (H^s - H^t)a^t_i`, and its length comes from :math:`d \times d`
    moments without cancellation.

    Args:
        h_s: Student embeddings.
        h_t: Teacher embeddings; they get no gradient.
        weight: A weight for each row i, not negative, before ``index``; it does not weigh the
            partners of i. The mean divides by the weights' sum. It gets a gradient if it requires
            one.
        index: Boolean mask or row numbers of the rows that take part.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each row's mean over all j).

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **weight:** :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If row counts or devices differ, an input is not two-dimensional, ``weight`` is
            negative, or ``reduction`` is unknown.
        TypeError: If an input is not a floating-point tensor.
        IndexError: If ``index`` names a row that does not exist.

    Source: Tung and Mori, ICCV 2019, arXiv 1907.09682, with the same value. RepDistiller's code
    has it, too, but keeps a row's length at 1e-12 or more.

    Example:
        >>> import torch
        >>> from graphkd.functional import similarity_preserving_loss
        >>> h_t = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> similarity_preserving_loss(torch.ones(2, 3), h_t)    # (0.71, 0.71) against (1, 0)
        tensor(0.2929)
    """
    loss = "similarity_preserving_loss"
    check_reduction(loss, reduction)
    s, t, chosen = matched_rows(loss, h_s, h_t, index)
    weight = row_weights(loss, weight, h_s, chosen)
    with full_precision(s.device):
        dtype = s.dtype
        s, t = (over_largest(h) for h in of_one_width(s, t))
        a, b = _directions(s), _directions(t)
        squares = squared_lengths(s, a - b, s - t, b)
        return reduce_rows((squares / max(s.size(0), 1)).to(dtype), reduction, weight)


def _directions(h: Tensor) -> Tensor:
    """a_i = h_i/‖H h_i‖, so that H a_i is the normalised row i of the Gram matrix."""
    unit = unit_rows(h)
    square: Tensor = torch.linalg.vecdot(unit, unit @ (h.T @ h)).unsqueeze(1)
    return unit / square.masked_fill(square <= 0, 1).sqrt()
