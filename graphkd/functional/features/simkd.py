"""The teacher's rows as they are, so that its classifier fits the student: SimKD.

The formula in its plain form is ``square_gap`` in ``ops/reference/square_gap.py``.
"""

from torch import Tensor

from graphkd._precision import full_precision
from graphkd.functional._options import check_reduction
from graphkd.functional._rows import matched_rows, reduce_rows, row_weights
from graphkd.ops.row_primitives import square_gap


def simkd_loss(
    h_s: Tensor,
    h_t: Tensor,
    *,
    weight: Tensor | None = None,
    index: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Mean squared error of rows of one width.

    Replaces ``F.mse_loss(h_s, h_t)``.

    .. math:: L = \frac1N \sum_i \frac1d \lVert h^s_i - h^t_i\rVert^2

    Lengths count, unlike in :func:`fitnet_loss`, because the teacher's classifier is used on the
    student's rows. Nothing is projected here: :class:`graphkd.SimKDLoss` projects the student, and
    holds the classifier.

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

    Source: Chen, Mei, Zhang, Wang, Feng and Chen, CVPR 2022, arXiv 2203.14001, with nodes instead
    of positions. The value equals that of the authors' code.

    Example:
        >>> import torch
        >>> from graphkd.functional import simkd_loss
        >>> simkd_loss(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 4.0]]))
        tensor(10.)
    """
    loss = "simkd_loss"
    check_reduction(loss, reduction)
    remedy = "SimKDLoss(dim_s, dim_t, ...) projects the student."
    s, t, chosen = matched_rows(loss, h_s, h_t, index, projecting=remedy)
    weight = row_weights(loss, weight, h_s, chosen)
    with full_precision(s.device):
        return reduce_rows(square_gap(s, t), reduction, weight)
