"""Links from a node to those of its context, by distribution and by rank: LLP."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from graphkd._checks import check_pair, check_positive, describe
from graphkd._precision import full_precision, student_and_teacher, upcast
from graphkd.functional._blocked import check_blocked_options
from graphkd.functional._rows import reduce_rows, resolve_index, select_rows
from graphkd.functional._terms import check_weights
from graphkd.functional.levels._stars import check_node_ids, star_products
from graphkd.functional.levels.link_scores import distribution_rows, rank_rows
from graphkd.ops import pick_backend

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
    index: Tensor | None = None,
    reduction: str = "mean",
    backend: str = "auto",
    chunk_size: int | None = None,
) -> Tensor:
    r"""Which nodes of its context a node is linked to: their distribution, and their order.

    Replaces ``llp_distribution_loss(s(h_s), s(h_t)) + llp_rank_loss(s(h_s), s(h_t))`` with
    ``s = lambda h: (h[anchors].unsqueeze(1) * h[context]).sum(-1).sigmoid()``, without its gathers.

    .. math::
        L = \frac1M \sum_{i} w_D\,D(y^s_i, y^t_i) + w_R\,R(y^s_i, y^t_i), \qquad
        y_{ij} = \sigma(\langle h_i, h_j\rangle)

    over the anchors i, with j running over the context of i, and with D and R the row values of
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
        index: Boolean mask or row numbers of the anchors (the rows of ``context``) that take part.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value per selected anchor).
        backend: ``"auto"``, ``"reference"`` or ``"chunked"``.
        chunk_size: Links per block of the chunked backend; changes memory, not the value.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **context:** :math:`[M, k]`
        - **anchors:** :math:`[M]`
        - **output:** scalar, or one value per selected anchor for ``reduction="none"``

    Raises:
        ValueError: If row counts, shapes or devices do not fit, or an option is out of range.
        TypeError: If embeddings are not floating-point tensors, or ids not integer ones.
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
    check_pair(loss, h_s, h_t)
    check_node_ids(loss, "context", context, h_s, 2, _CONTEXT)
    p, q = student_and_teacher(h_s, h_t)
    anchors = _anchors(loss, anchors, context, p)
    rows = resolve_index(loss, index, context)
    context, anchors = (select_rows(loss, ids.long(), rows) for ids in (context, anchors))
    named = isinstance(decoder, str)
    backend = pick_backend(
        loss, backend, p, reference=not named, chunk_size=chunk_size, programs=False
    )
    with full_precision(p.device):
        if isinstance(decoder, str):
            z_s, z_t = (
                star_products(h, anchors, context, backend, chunk_size).sigmoid() for h in (p, q)
            )
        else:
            z_s = _decoded(loss, decoder[0], p, anchors, context)
            with torch.no_grad():
                z_t = _decoded(loss, decoder[1], q, anchors, context)
        terms = []
        if distribution_weight:
            terms.append(distribution_weight * distribution_rows(z_s, z_t, temperature))
        if rank_weight:
            terms.append(rank_weight * rank_rows(z_s, z_t, margin))
        return reduce_rows(torch.stack(terms).sum(dim=0).to(p.dtype), reduction)


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
    """What a decoder of the user's makes of each anchor with its context."""
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
