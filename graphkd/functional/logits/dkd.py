"""Soft targets split into the labelled class and the others: DKD."""

import torch
from torch import Tensor

from graphkd._checks import check_positive, check_row_ids
from graphkd._precision import exact, full_precision, recorded, traced
from graphkd.functional._options import check_reduction, check_weights
from graphkd.functional._rows import matched_logits, reduce_rows, row_weights, select_rows
from graphkd.ops.row_primitives import soft_targets


def check_dkd_options(
    loss: str, *, alpha: float, beta: float, temperature: float, reduction: str
) -> None:
    """Raise on an option that is out of range."""
    check_weights(loss, alpha=alpha, beta=beta)
    check_positive(f"{loss}: temperature", temperature)
    check_reduction(loss, reduction)


def dkd_loss(
    z_s: Tensor,
    z_t: Tensor,
    y: Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
    weight: Tensor | None = None,
    index: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Divergence of the class y against all others, and divergence among the others, weighted.

    Replaces ``T**2 * (alpha * kl(b_t, b_s) + beta * kl(o_t, o_s))``, with ``b`` the probability of
    the class y against all others, and ``o`` the distribution over the others alone.

    .. math::
        L = \frac{T^2}{N} \sum_i \left[
            \alpha\, \mathrm{KL}\left(b^t_i \,\Vert\, b^s_i\right)
            + \beta\, \mathrm{KL}\left(o^t_i \,\Vert\, o^s_i\right)\right],
        \qquad b_i = (p_{i y_i},\; 1 - p_{i y_i}),
        \quad o_i = \left(\frac{p_{ic}}{1 - p_{i y_i}}\right)_{c \ne y_i}

    with the softmax p at temperature T. KD multiplies the second divergence by the teacher's
    :math:`1 - p_{i y_i}`, which is small for a teacher that is sure. Here every row counts the
    same. The value is computed in float64.

    Args:
        z_s: Student logits.
        z_t: Teacher logits; they get no gradient.
        y: The class of each row, from 0 to C - 1. Rows that ``index`` leaves out may hold
            anything, such as -1 for nodes without a label.
        alpha: Weight of the class y against the others (TCKD in the paper).
        beta: Weight of the others among themselves (NCKD).
        temperature: T, without a unit.
        weight: A weight for each row, not negative, before ``index``. The mean divides by the
            weights' sum. It gets a gradient if it requires one.
        index: Boolean mask or row numbers of the rows that take part; applies to ``y`` too.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value per row).

    Shapes:
        - **z_s:** :math:`[N, C]`
        - **z_t:** :math:`[N, C]`
        - **y:** :math:`[N]`
        - **weight:** :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If shapes or devices differ, there are fewer than three classes, ``weight`` is
            negative, or an option is out of range.
        TypeError: If logits are not floating-point tensors, or ``y`` not an integer one.
        IndexError: If ``index`` names a row, or ``y`` a class, that does not exist.

    Source: Zhao et al., CVPR 2022, arXiv 2203.08679. The value equals that of the authors'
    code, with two exceptions. To leave the class y out, their code subtracts 1000 from its logit.
    Its logarithms are infinite where a probability is too small for a float.

    Example:
        >>> import torch
        >>> from graphkd.functional import dkd_loss
        >>> z_s, z_t = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[4.0, 2.0, 0.0]])
        >>> dkd_loss(z_s, z_t, torch.tensor([0]), temperature=1.0)
        tensor(2.8224)
    """
    loss = "dkd_loss"
    check_dkd_options(loss, alpha=alpha, beta=beta, temperature=temperature, reduction=reduction)
    s, t, chosen = matched_logits(loss, z_s, z_t, index)
    if z_s.size(1) < 3:
        raise ValueError(
            f"{loss}: it needs at least three classes; got logits of shape {tuple(z_s.shape)}. Of "
            "two classes, only one is left beside y, and there is nothing to compare among the "
            "others. Use KDLoss."
        )
    check_row_ids(loss, "y", y, z_s, "class ids", "Pass data.y.view(-1), one class per node.")
    y = select_rows(loss, recorded(y), chosen)
    weight = row_weights(loss, weight, z_s, chosen)
    with full_precision(s.device):
        (own_s, others_s), (own_t, others_t) = (
            _split(loss, exact(z) / temperature, y.long()) for z in (s, t)
        )
        # Where all others are masked in the teacher, there is nothing to compare among them.
        alone = others_t.amax(dim=1, keepdim=True) == -torch.inf
        among = soft_targets(others_s.masked_fill(alone, 0), others_t.masked_fill(alone, 0))
        target = soft_targets(_against_all(own_s, others_s), _against_all(own_t, others_t))
        values = temperature**2 * (alpha * target + beta * among)
        return reduce_rows(values.to(s.dtype), reduction, weight)


def _split(loss: str, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The logit of class y of each row, [N, 1], and the logits of the others, [N, C - 1]."""
    y = y.unsqueeze(1)
    others = torch.arange(z.size(1) - 1, device=z.device)
    others = others + (others >= y).long()
    if traced():
        return z.gather(1, y), z.gather(1, others)
    try:
        return z.gather(1, y), z.gather(1, others)
    except (IndexError, RuntimeError):
        outside = y[(y < 0) | (y >= z.size(1))]
        if outside.numel() == 0:
            raise
        raise IndexError(
            f"{loss}: y names class {outside[0].item()}, but the logits have {z.size(1)} classes, "
            "numbered from 0. Leave rows without a class out with index."
        ) from None


def _against_all(own: Tensor, others: Tensor) -> Tensor:
    """Logits of two outcomes: the one class, or any of the others."""
    # Torch's logsumexp reads the number of rows, which torch.compile may not know.
    top = others.detach().amax(dim=1, keepdim=True)
    masked = top == -torch.inf
    others, top = others.masked_fill(masked, 0), top.masked_fill(masked, 0)
    total = top + (others - top).exp().sum(dim=1, keepdim=True).log()
    return torch.cat([own, total.masked_fill(masked, -torch.inf)], dim=1)
