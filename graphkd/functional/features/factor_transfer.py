"""The direction of the teacher's factors: factor transfer."""

from typing import Any

import torch
from torch import Tensor

from graphkd._precision import full_precision
from graphkd.functional._options import check_reduction
from graphkd.functional._rows import matched_rows, reduce_rows, row_weights
from graphkd.similarity import unit_rows


def factor_transfer_loss(
    h_s: Tensor,
    h_t: Tensor,
    *,
    p: int = 1,
    weight: Tensor | None = None,
    index: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Distance of L2-normalised factors.

    Replaces ``(F.normalize(h_s) - F.normalize(h_t)).norm(p=p, dim=1).mean()``.

    .. math::
        L = \frac1N \sum_i \left\lVert \frac{f^s_i}{\lVert f^s_i\rVert_2}
                                     - \frac{f^t_i}{\lVert f^t_i\rVert_2} \right\rVert_p

    The caller passes the factors f. :class:`graphkd.FactorTransferLoss` makes them from embeddings:
    the student's by a translator, the teacher's by a paraphraser.

    Args:
        h_s: The student's factors.
        h_t: The teacher's factors, of the same width; they get no gradient.
        p: 1 or 2: the norm of the difference.
        weight: A weight for each row, not negative, before ``index``. The mean divides by the
            weights' sum. It gets a gradient if it requires one.
        index: Boolean mask or row numbers of the rows that take part.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each row's distance).

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

    Source: Kim, Park and Kwak, NeurIPS 2018, arXiv 1802.04977. The authors' code takes the mean
    over the width: for ``p=1``, the value here is d times theirs.

    Example:
        >>> import torch
        >>> from graphkd.functional import factor_transfer_loss
        >>> factor_transfer_loss(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 5.0]]))
        tensor(2.)
    """
    loss = "factor_transfer_loss"
    check_factor_transfer_options(loss, p=p, reduction=reduction)
    remedy = "FactorTransferLoss(dim_s, dim_t) translates and paraphrases."
    s, t, chosen = matched_rows(loss, h_s, h_t, index, projecting=remedy)
    weight = row_weights(loss, weight, h_s, chosen)
    with full_precision(s.device):
        gap = unit_rows(s) - unit_rows(t)
        return reduce_rows(torch.linalg.vector_norm(gap, ord=p, dim=1), reduction, weight)


def check_factor_transfer_options(loss: str, *, p: Any, reduction: str) -> None:
    """Raise on an option that is out of range."""
    if isinstance(p, bool) or p not in (1, 2):
        raise ValueError(f"{loss}: p must be 1 or 2; got {p!r}.")
    check_reduction(loss, reduction)
