"""The signs of the teacher's pre-activations: activation boundaries.

The formula in its plain form is ``boundary_gap`` in ``ops/reference/boundary_gap.py``.
"""

from torch import Tensor

from graphkd._checks import check_positive
from graphkd._precision import full_precision
from graphkd.functional._options import check_reduction
from graphkd.functional._rows import matched_rows, reduce_rows, row_weights
from graphkd.ops.row_primitives import boundary_gap


def ab_loss(
    h_s: Tensor,
    h_t: Tensor,
    *,
    margin: float = 1.0,
    weight: Tensor | None = None,
    index: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Squared hinge of the student's pre-activations by the signs of the teacher's.

    Replaces ``F.relu(margin - h_t.sign() * h_s).square().sum(dim=1).mean()`` (a zero of the
    teacher counts as negative).

    .. math::
        L = \frac1N \sum_i \sum_k \begin{cases}
            \max(0, m - h^s_{ik})^2 & h^t_{ik} > 0 \\
            \max(0, m + h^s_{ik})^2 & h^t_{ik} \le 0 \end{cases}

    The loss asks on which side of its boundary a neuron lies, not how far from it. Take both inputs
    before the activation, because nothing is negative after a ReLU. A student that equals the
    teacher still has a loss above 0 where the teacher lies within the margin. Nothing is projected
    here: :class:`graphkd.ABLoss` projects the student.

    Args:
        h_s: Student pre-activations.
        h_t: Teacher pre-activations of the same width; they get no gradient.
        margin: How far beyond the boundary the student has to go.
        weight: A weight for each row, not negative, before ``index``. The mean divides by the
            weights' sum. It gets a gradient if it requires one.
        index: Boolean mask or row numbers of the rows that take part.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each row's sum over the width).

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

    Source: Heo, Lee, Yun and Choi, AAAI 2019, arXiv 1811.03233: the value of their
    alternative loss. The authors' code multiplies it by 3/1000.

    Example:
        >>> import torch
        >>> from graphkd.functional import ab_loss
        >>> ab_loss(torch.tensor([[3.0, 0.5, 0.5]]), torch.tensor([[0.1, 0.1, -0.1]]))
        tensor(2.5000)
    """
    loss = "ab_loss"
    check_ab_options(loss, margin=margin, reduction=reduction)
    remedy = "ABLoss(dim_s, dim_t) projects the student."
    s, t, chosen = matched_rows(loss, h_s, h_t, index, projecting=remedy)
    weight = row_weights(loss, weight, h_s, chosen)
    with full_precision(s.device):
        return reduce_rows(boundary_gap(s, t, margin), reduction, weight)


def check_ab_options(loss: str, *, margin: float, reduction: str) -> None:
    """Raise on an option that is out of range."""
    check_positive(f"{loss}: margin", margin)
    check_reduction(loss, reduction)
