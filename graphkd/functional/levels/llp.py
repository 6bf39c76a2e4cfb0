"""Links from a node to the nodes of its context, by distribution and rank: LLP, and its parts."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, triu_indices

from graphkd._checks import check_node_ids, check_positive, describe
from graphkd._precision import exact, full_precision, upcast
from graphkd.functional._options import check_blocked_options, check_reduction, check_weights
from graphkd.functional._rows import (
    matched_rows,
    reduce_rows,
    resolve_index,
    row_weights,
    select_rows,
)
from graphkd.ops.primitives import star_products
from graphkd.ops.reference.soft_targets import Softening
from graphkd.ops.row_primitives import soft_targets

Decoder: TypeAlias = Callable[[Tensor, Tensor], Tensor]
Decoders: TypeAlias = str | Sequence[Decoder]

_CONTEXT = "Draw it with graphkd.functional.link_context."


def check_llp_options(
    loss: str,
    *,
    decoder: Decoders,
    temperature: float,
    margin: float,
    distribution_weight: float,
    rank_weight: float,
    reduction: str,
    backend: str,
    chunk_size: int | None,
) -> None:
    """Raise on an option that is out of range."""
    check_positive(f"{loss}: temperature", temperature)
    check_positive(f"{loss}: margin", margin)
    check_weights(loss, distribution_weight=distribution_weight, rank_weight=rank_weight)
    check_blocked_options(loss, reduction=reduction, backend=backend, chunk_size=chunk_size)
    if isinstance(decoder, str) and decoder == "inner":
        return
    pair = isinstance(decoder, Sequence) and not isinstance(decoder, str) and len(decoder) == 2
    if not pair or not all(callable(each) for each in decoder):
        raise ValueError(
            f"{loss}: decoder must be 'inner' or a pair of callables (student's, teacher's); got "
            f"{describe(decoder)}."
        )
    if backend == "chunked":
        raise ValueError(
            f"{loss}: decoders of the user's run on the reference backend only; got "
            f"backend={backend!r}. Pass backend='auto'."
        )


def llp_loss(
    h_s: Tensor,
    h_t: Tensor,
    context: Tensor,
    anchors: Tensor | None = None,
    *,
    decoder: Decoders = "inner",
    temperature: float = 1.0,
    margin: float = 0.1,
    distribution_weight: float = 1.0,
    rank_weight: float = 1.0,
    weight: Tensor | None = None,
    index: Tensor | None = None,
    reduction: str = "mean",
    backend: str = "auto",
    chunk_size: int | None = None,
) -> Tensor:
    r"""Links from a node to the nodes of its context: their distribution and their order.

    Replaces ``llp_distribution_loss(s(h_s), s(h_t)) + llp_rank_loss(s(h_s), s(h_t))`` with
    ``s = lambda h: (h[anchors].unsqueeze(1) * h[context]).sum(-1).sigmoid()``, without its gathers.

    .. math::
        L = \frac1M \sum_{i} w_D\,D(y^s_i, y^t_i) + w_R\,R(y^s_i, y^t_i), \qquad
        y_{ij} = \sigma(\langle h_i, h_j\rangle)

    over the anchors i and the nodes j of the context of i. D and R are the row values of
    :func:`llp_distribution_loss` and :func:`llp_rank_loss`. The widths may differ.

    Args:
        h_s: Student embeddings.
        h_t: Teacher embeddings; they get no gradient.
        context: For each anchor, the nodes whose links to it are scored; see :func:`link_context`.
        anchors: The anchors. Default: all nodes, in order.
        decoder: How links are scored: ``"inner"`` as above; or a pair (student's, teacher's) of
            callables that take the anchors' and the contexts' embeddings, :math:`[M, k, d]` each,
            and return scores :math:`[M, k]` or :math:`[M, k, 1]`. They run on gathered rows.
        temperature: T of the distributions.
        margin: The margin δ of the order, in units of the scores.
        distribution_weight: :math:`w_D`; 0 switches the term off.
        rank_weight: :math:`w_R`; 0 switches the term off.
        weight: A weight for each anchor, not negative, before ``index``. The mean divides by the
            weights' sum. It gets a gradient if it requires one.
        index: Boolean mask or row numbers of the anchors (the rows of ``context``) that take part.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value per selected anchor).
        backend: ``"auto"``, ``"reference"`` or ``"chunked"``.
        chunk_size: Links per block of the chunked backend; changes memory, not the value.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **context:** :math:`[M, k]`
        - **anchors:** :math:`[M]`
        - **weight:** :math:`[M]`
        - **output:** scalar, or one value per selected anchor for ``reduction="none"``

    Raises:
        ValueError: If row counts, shapes or devices do not fit, ``weight`` is negative, or an
            option is out of range.
        TypeError: If embeddings are not floating-point tensors, or ids are not integer tensors.
        IndexError: If ``context`` or ``anchors`` names a node, or ``index`` a row, that does not
            exist.

    Source: Guo, Shiao, Zhang, Liu, Chawla, Shah and Zhao, ICML 2023, arXiv 2210.05801. In the
    authors' code the decoders are trained link predictors: σ of an MLP of the entrywise product.

    Example:
        >>> import torch
        >>> from graphkd.functional import llp_loss
        >>> h_t = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
        >>> h_s = torch.tensor([[0.0, 1.0], [3.0, 0.0], [0.0, 3.0]])
        >>> context, anchors = torch.tensor([[1, 2]]), torch.tensor([0])
        >>> llp_loss(h_s, h_t, context, anchors)     # the student has the wrong order
        tensor(0.6533)
    """
    loss = "llp_loss"
    check_llp_options(
        loss,
        decoder=decoder,
        temperature=temperature,
        margin=margin,
        distribution_weight=distribution_weight,
        rank_weight=rank_weight,
        reduction=reduction,
        backend=backend,
        chunk_size=chunk_size,
    )
    s, t, _ = matched_rows(loss, h_s, h_t)
    check_node_ids(loss, "context", context, h_s, 2, _CONTEXT)
    anchors = _anchors(loss, anchors, context, s)
    chosen = resolve_index(loss, index, context, "anchor")
    weight = row_weights(loss, weight, context, chosen, "anchor")
    context, anchors = (select_rows(loss, ids.long(), chosen) for ids in (context, anchors))
    with full_precision(s.device):
        if isinstance(decoder, str):
            z_s, z_t = (_linked(loss, h, anchors, context, backend, chunk_size) for h in (s, t))
        else:
            z_s = _decoded(loss, decoder[0], s, anchors, context)
            with torch.no_grad():
                z_t = _decoded(loss, decoder[1], t, anchors, context)
        terms = []
        if distribution_weight:
            terms.append(distribution_weight * _distribution_rows(z_s, z_t, temperature))
        if rank_weight:
            terms.append(rank_weight * _rank_rows(z_s, z_t, margin))
        return reduce_rows(torch.stack(terms).sum(dim=0).to(s.dtype), reduction, weight)


def llp_distribution_loss(
    z_s: Tensor,
    z_t: Tensor,
    *,
    temperature: float = 1.0,
    weight: Tensor | None = None,
    index: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Divergence of the distributions of link scores over each anchor's context.

    Replaces ``T**2 * F.kl_div((z_s / T).log_softmax(1), (z_t / T).softmax(1),
    reduction="batchmean")``, without its loss of digits where the two agree.

    .. math::
        L = \frac{T^2}{M} \sum_i \mathrm{KL}\left(\mathrm{softmax}(z^t_i/T) \,\Vert\,
            \mathrm{softmax}(z^s_i/T)\right)

    It is :func:`kd_loss` with context nodes instead of classes. A single column is no error here;
    it gives 0.

    Args:
        z_s: The student's scores of the links from each anchor (row) to its context.
        z_t: The teacher's scores; they get no gradient.
        temperature: T.
        weight: A weight for each anchor, not negative, before ``index``. The mean divides by the
            weights' sum. It gets a gradient if it requires one.
        index: Boolean mask or row numbers of the anchors that take part.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value per selected anchor).

    Shapes:
        - **z_s:** :math:`[M, k]`
        - **z_t:** :math:`[M, k]`
        - **weight:** :math:`[M]`
        - **output:** scalar, or one value per selected anchor for ``reduction="none"``

    Raises:
        ValueError: If shapes or devices differ, ``weight`` is negative, or an option is out of
            range.
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
    s, t, weight = _scores(loss, z_s, z_t, weight, index, reduction)
    with full_precision(s.device):
        return reduce_rows(_distribution_rows(s, t, temperature), reduction, weight)


def llp_rank_loss(
    z_s: Tensor,
    z_t: Tensor,
    *,
    margin: float = 0.1,
    weight: Tensor | None = None,
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

    A pair that the teacher does not tell apart adds the constant δ, without a gradient. So the loss
    of a perfect student is δ times the share of such pairs. Time and memory grow with k².

    Args:
        z_s: The student's scores of the links from each anchor (row) to its context.
        z_t: The teacher's scores; they get no gradient.
        margin: The margin δ, in units of the scores.
        weight: A weight for each anchor, not negative, before ``index``. The mean divides by the
            weights' sum. It gets a gradient if it requires one.
        index: Boolean mask or row numbers of the anchors that take part.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each anchor's mean over its pairs).

    Shapes:
        - **z_s:** :math:`[M, k]`
        - **z_t:** :math:`[M, k]`
        - **weight:** :math:`[M]`
        - **output:** scalar, or one value per selected anchor for ``reduction="none"``

    Raises:
        ValueError: If shapes or devices differ, ``weight`` is negative, or an option is out of
            range.
        TypeError: If scores are not floating-point tensors.
        IndexError: If ``index`` names a row that does not exist.

    Source: Guo et al., ICML 2023, arXiv 2210.05801. The authors' code has the same mean over pairs.

    Example:
        >>> import torch
        >>> from graphkd.functional import llp_rank_loss
        >>> llp_rank_loss(torch.tensor([[0.2, 0.7]]), torch.tensor([[0.9, 0.1]]))
        tensor(0.6000)
    """
    loss = "llp_rank_loss"
    check_positive(f"{loss}: margin", margin)
    s, t, weight = _scores(loss, z_s, z_t, weight, index, reduction)
    with full_precision(s.device):
        return reduce_rows(_rank_rows(s, t, margin), reduction, weight)


def _scores(
    loss: str,
    z_s: Tensor,
    z_t: Tensor,
    weight: Tensor | None,
    index: Tensor | None,
    reduction: str,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Checked scores, which must be of one context, and the anchors' weights."""
    check_reduction(loss, reduction)
    names, remedy = ("z_s", "z_t"), "Both must score the same context."
    gate: Any = {"names": names, "what": "scores", "projecting": remedy}
    s, t, chosen = matched_rows(loss, z_s, z_t, index, **gate)
    return s, t, row_weights(loss, weight, z_s, chosen)


def _distribution_rows(s: Tensor, t: Tensor, temperature: float) -> Tensor:
    """T² times the divergence of each row's softmaxes."""
    return soft_targets(s, t, Softening(temperature))


def _rank_rows(s: Tensor, t: Tensor, margin: float) -> Tensor:
    """Each row's mean over its pairs of columns; 0 without pairs."""
    first, second = triu_indices(s.size(1), s.size(1), 1, device=s.device).unbind()
    apart, wanted = (z.index_select(1, first) - z.index_select(1, second) for z in (s, t))
    order = (wanted > margin).to(s.dtype) - (wanted < -margin).to(s.dtype)
    # Comparisons hide a NaN in the teacher's scores.
    order = order.where(~wanted.isnan(), wanted)
    return (margin - order * apart).clamp(min=0).sum(dim=1) / max(first.numel(), 1)


def _linked(
    loss: str,
    h: Tensor,
    anchors: Tensor,
    context: Tensor,
    backend: str,
    chunk_size: int | None,
) -> Tensor:
    """The scores of an anchor's links: σ of the inner products.

    They are float64: near convergence, the loss depends on the small differences between the sides.
    """
    h = exact(h)
    rows = h.index_select(0, anchors)
    return star_products(loss, rows, h, context, backend, chunk_size).sigmoid()


def _anchors(loss: str, anchors: Tensor | None, context: Tensor, h: Tensor) -> Tensor:
    """The node of each row of the context."""
    if anchors is None:
        anchors = torch.arange(h.size(0), device=h.device)
    else:
        check_node_ids(loss, "anchors", anchors, h, 1, "Convert a mask by .nonzero().view(-1).")
    if anchors.size(0) != context.size(0):
        raise ValueError(
            f"{loss}: context must have one row for each of {anchors.size(0)} anchors; got "
            f"{describe(context)}. Pass the anchors that it was drawn for."
        )
    return anchors


def _decoded(loss: str, decoder: Decoder, h: Tensor, anchors: Tensor, context: Tensor) -> Tensor:
    """The scores by a user's decoder of each anchor with its context."""
    around = h.index_select(0, context.reshape(-1)).view(*context.shape, h.size(1))
    score: Any = decoder(h.index_select(0, anchors).unsqueeze(1).expand_as(around), around)
    if isinstance(score, Tensor) and score.shape == (*context.shape, 1):
        score = score.squeeze(2)
    if not isinstance(score, Tensor) or score.shape != context.shape:
        raise ValueError(
            f"{loss}: a decoder takes embeddings {tuple(around.shape)} twice and returns scores "
            f"{tuple(context.shape)}; got {describe(score)}. Reduce over the last dimension."
        )
    return upcast(score).to(h.dtype)
