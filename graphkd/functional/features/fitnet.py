"""Embeddings of one width, row by row: FitNet.

The formula in its plain form is ``unit_gap`` in ``ops/reference/unit_gap.py``.
"""

from torch import Tensor

from graphkd._precision import full_precision
from graphkd.functional._options import check_reduction
from graphkd.functional._rows import matched_rows, reduce_rows, row_weights
from graphkd.ops.row_primitives import unit_gap


def fitnet_loss(
    h_s: Tensor,
    h_t: Tensor,
    *,
    weight: Tensor | None = None,
    index: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Mean squared error between L2-normalised rows of one width.

    Replaces ``F.mse_loss(unit(h_s), unit(h_t))``.

    .. math::
        L = \frac1N \sum_i \frac1d
            \left\lVert \frac{h^s_i}{\lVert h^s_i\rVert} - \frac{h^t_i}{\lVert h^t_i\rVert}
            \right\rVert^2

    Nothing is projected here: :class:`graphkd.FitNetLoss` projects the student.

    Args:
        h_s: Student rows.
        h_t: Teacher rows of the same width; they get no gradient.
        weight: A weight for each row, not negative, before ``index``. The mean divides by the
            weights' sum. It gets a gradient if it requires one.
        index: Boolean mask or row numbers of the rows that take part.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each row's mean over the width).

    Shapes:
        - **h_s:** :math:`[N, d]`
        - **h_t:** :math:`[N, d]`
        - **weight:** :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If row counts, widths or devices differ, an input is not two-dimensional,
            ``weight`` is negative, or an option is out of range.
        TypeError: If an input is not a floating-point tensor.
        IndexError: If ``index`` names a row that does not exist.

    Source: Romero et al., 2015, arXiv 1412.6550; normalised as in Joshi et al., 2022, whose value
    it equals. FitNet itself does not normalise.

    Example:
        >>> import torch
        >>> from graphkd.functional import fitnet_loss
        >>> fitnet_loss(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 5.0]]))
        tensor(1.)
    """
    loss = "fitnet_loss"
    check_reduction(loss, reduction)
    remedy = "FitNetLoss(dim_s, dim_t) projects the student."
    s, t, chosen = matched_rows(loss, h_s, h_t, index, projecting=remedy)
    return match_rows(s, t, row_weights(loss, weight, h_s, chosen), reduction)


def match_rows(s: Tensor, t: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """FitNet of rows that passed the checks; here both sides may learn."""
    with full_precision(s.device):
        return reduce_rows(unit_gap(s, t), reduction, weight)
