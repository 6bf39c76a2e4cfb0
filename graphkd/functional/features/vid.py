"""The likelihood of the teacher's rows given the student's: VID."""

from typing import Any

import torch
from torch import Tensor

from graphkd._checks import check_devices, check_positive, describe
from graphkd._precision import full_precision
from graphkd.functional._options import check_reduction
from graphkd.functional._rows import matched_rows, reduce_rows, row_weights


def vid_loss(
    h_s: Tensor,
    h_t: Tensor,
    alpha: Tensor,
    *,
    eps: float = 1e-5,
    weight: Tensor | None = None,
    index: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Negative log likelihood of teacher rows under a Gaussian around the student's rows.

    Replaces ``0.5 * ((h_s - h_t) ** 2 / var + var.log()).mean()`` with
    ``var = F.softplus(alpha) + eps``.

    .. math::
        L = \frac1N \sum_i \frac1d \sum_k \frac12 \left(
            \frac{(h^s_{ik} - h^t_{ik})^2}{v_k} + \log v_k\right), \qquad
        v_k = \log(1 + e^{\alpha_k}) + \epsilon

    The constant :math:`\frac12 \log 2\pi` is left out, so the value may be negative. Nothing
    is projected here: :class:`graphkd.VIDLoss` regresses the teacher's rows on the student's, and
    holds ``alpha``.

    Args:
        h_s: Student rows, the means.
        h_t: Teacher rows of the same width; they get no gradient.
        alpha: A number for each of the teacher's features, which sets its variance; it gets a
            gradient.
        eps: The least variance.
        weight: A weight for each row, not negative, before ``index``. The mean divides by the
            weights' sum. It gets a gradient if it requires one.
        index: Boolean mask or row numbers of the rows that take part.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each row's mean over the width).

    Shapes:
        - **h_s:** :math:`[N, d]`
        - **h_t:** :math:`[N, d]`
        - **alpha:** :math:`[d]`
        - **weight:** :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If row counts, widths or devices differ, a shape is wrong, ``weight`` is
            negative, or an option is out of range.
        TypeError: If an input is not a floating-point tensor.
        IndexError: If ``index`` names a row that does not exist.

    Source: Ahn, Hu, Damianou, Lawrence and Dai, CVPR 2019, arXiv 1904.05835. The value equals
    that of the released code, a mean over the width. The paper's is a sum, d times as large.

    Example:
        >>> import torch
        >>> from graphkd.functional import vid_loss
        >>> alpha = torch.tensor([0.5413, 0.5413])    # a variance of 1
        >>> vid_loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 0.0]]), alpha)
        tensor(1.0000)
    """
    loss = "vid_loss"
    check_vid_options(loss, eps=eps, reduction=reduction)
    remedy = "VIDLoss(dim_s, dim_t) projects the student."
    s, t, chosen = matched_rows(loss, h_s, h_t, index, projecting=remedy)
    weight = row_weights(loss, weight, h_s, chosen)
    _check_alpha(loss, alpha, h_t)
    with full_precision(s.device):
        alpha = alpha.to(s.dtype)
        # softplus, without torch's switch to a straight line where exp is large
        variance = torch.logaddexp(alpha, torch.zeros_like(alpha)) + eps
        rows = ((s - t).square() / variance).mean(dim=1) + variance.log().mean()
        return reduce_rows(rows / 2, reduction, weight)


def check_vid_options(loss: str, *, eps: float, reduction: str) -> None:
    """Raise on an option that is out of range."""
    check_positive(f"{loss}: eps", eps)
    check_reduction(loss, reduction)


def _check_alpha(loss: str, alpha: Any, h_t: Tensor) -> None:
    remedy = "Pass torch.zeros(h_t.size(1), requires_grad=True)."
    if not isinstance(alpha, Tensor) or not alpha.is_floating_point():
        raise TypeError(
            f"{loss}: alpha must be a floating-point tensor [d], a number for each of the "
            f"teacher's features; got {describe(alpha)}. {remedy}"
        )
    if alpha.shape != h_t.shape[1:]:
        raise ValueError(
            f"{loss}: alpha must have one entry for each of the teacher's {h_t.size(1)} features; "
            f"got {describe(alpha)}. {remedy}"
        )
    check_devices(loss, h_t=h_t, alpha=alpha)
