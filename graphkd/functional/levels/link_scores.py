"""Matching the scores of links from one node to others: LLP's two terms."""

from torch import Tensor, triu_indices

from graphkd._checks import check_pair, check_positive
from graphkd._precision import full_precision, student_and_teacher
from graphkd.functional._rows import check_reduction, reduce_rows, resolve_index, select_rows
from graphkd.ops.divergence import softmax_kl


def llp_distribution_loss(
    z_s: Tensor,
    z_t: Tensor,
    *,
    temperature: float = 1.0,
    index: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Divergence of the distributions of link scores over each anchor's context.

    Replaces ``T**2 * F.kl_div((z_s / T).log_softmax(1), (z_t / T).softmax(1),
    reduction="batchmean")``, without its loss of digits where the two agree.

    .. math::
        L = \frac{T^2}{M} \sum_i \mathrm{KL}\left(\mathrm{softmax}(z^t_i/T) \,\Vert\,
            \mathrm{softmax}(z^s_i/T)\right)

    It is :func:`kd_loss` with context nodes in the place of classes; one column is no error here,
    and gives 0.

    Args:
        z_s: The student's scores of the links from each anchor (row) to its context.
        z_t: The teacher's; they get no gradient.
        temperature: T.
        index: Boolean mask or row numbers of the anchors that take part.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value per selected anchor).

    Shapes:
        - **z_s:** :math:`[M, k]`
        - **z_t:** :math:`[M, k]`
        - **output:** scalar, or one value per selected anchor for ``reduction="none"``

    Raises:
        ValueError: If shapes or devices differ, or an option is out of range.
        TypeError: If scores are not floating-point tensors.
        IndexError: If ``index`` names a row that does not exist.

    Source: Guo et al., ICML 2023, arXiv 2210.05801. The authors' code takes T = 1.

    Example:
        >>> import torch
        >>> from graphkd.functional import llp_distribution_loss
        >>> llp_distribution_loss(torch.tensor([[0.5, 0.5]]), torch.tensor([[0.9, 0.1]]))
        tensor(0.0740)
    """
    loss = "llp_distribution_loss"
    check_positive(f"{loss}: temperature", temperature)
    p, q = _scores(loss, z_s, z_t, index, reduction)
    with full_precision(p.device):
        return reduce_rows(distribution_rows(p, q, temperature), reduction)


def llp_rank_loss(
    z_s: Tensor,
    z_t: Tensor,
    *,
    margin: float = 0.1,
    index: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Margin ranking of each anchor's context in the teacher's order.

    Replaces ``F.margin_ranking_loss(z_s[:, a], z_s[:, b], r, margin)`` over all pairs a < b.

    .. math::
        L = \frac1M \sum_i \frac{2}{k(k-1)} \sum_{a<b}
            \max\left(0, \delta - r^i_{ab} (z^s_{ia} - z^s_{ib})\right), \qquad
        r^i_{ab} = \begin{cases} 1 & z^t_{ia} - z^t_{ib} > \delta \\
            -1 & z^t_{ia} - z^t_{ib} < -\delta \\ 0 & \text{else} \end{cases}

    A pair that the teacher does not tell apart adds the constant δ, without a gradient; so a
    perfect student's loss is δ times the share of such pairs. Time and memory grow with k².

    Args:
        z_s: The student's scores of the links from each anchor (row) to its context.
        z_t: The teacher's; they get no gradient.
        margin: The margin δ, in units of the scores.
        index: Boolean mask or row numbers of the anchors that take part.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each anchor's mean over its pairs).

    Shapes:
        - **z_s:** :math:`[M, k]`
        - **z_t:** :math:`[M, k]`
        - **output:** scalar, or one value per selected anchor for ``reduction="none"``

    Raises:
        ValueError: If shapes or devices differ, or an option is out of range.
        TypeError: If scores are not floating-point tensors.
        IndexError: If ``index`` names a row that does not exist.

    Source: Guo et al., ICML 2023, arXiv 2210.05801; the authors' code has this mean over pairs.

    Example:
        >>> import torch
        >>> from graphkd.functional import llp_rank_loss
        >>> llp_rank_loss(torch.tensor([[0.2, 0.7]]), torch.tensor([[0.9, 0.1]]))
        tensor(0.6000)
    """
    loss = "llp_rank_loss"
    check_positive(f"{loss}: margin", margin)
    p, q = _scores(loss, z_s, z_t, index, reduction)
    with full_precision(p.device):
        return reduce_rows(rank_rows(p, q, margin), reduction)


def _scores(
    loss: str, z_s: Tensor, z_t: Tensor, index: Tensor | None, reduction: str
) -> tuple[Tensor, Tensor]:
    """The selected rows of scores, checked and upcast."""
    check_reduction(loss, reduction)
    names, one_context = ("z_s", "z_t"), "Both must score the same context."
    check_pair(loss, z_s, z_t, names=names, what="scores", projecting=one_context)
    p, q = student_and_teacher(z_s, z_t)
    rows = resolve_index(loss, index, p)
    return select_rows(loss, p, rows), select_rows(loss, q, rows)


def distribution_rows(p: Tensor, q: Tensor, temperature: float) -> Tensor:
    """T² times the divergence of each row's softmaxes."""
    return temperature**2 * softmax_kl(q / temperature, p / temperature)


def rank_rows(p: Tensor, q: Tensor, margin: float) -> Tensor:
    """Each row's mean over its pairs of columns; 0 without pairs."""
    first, second = triu_indices(p.size(1), p.size(1), 1, device=p.device).unbind()
    apart, wanted = (z.index_select(1, first) - z.index_select(1, second) for z in (p, q))
    order = (wanted > margin).to(p.dtype) - (wanted < -margin).to(p.dtype)
    # Comparisons hide a NaN of the teacher's.
    order = order.where(~wanted.isnan(), wanted)
    return (margin - order * apart).clamp(min=0).sum(dim=1) / max(first.numel(), 1)
