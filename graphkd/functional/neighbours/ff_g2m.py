"""Low and high frequencies of the teacher's predictions over the graph: FF-G2M, and its parts."""

from typing import Any

from torch import Tensor

from graphkd._checks import check_positive
from graphkd._precision import full_precision
from graphkd.functional._options import check_blocked_options, check_reduction, check_weights
from graphkd.functional._rows import resolve_index, row_weights
from graphkd.functional.neighbours._edges import (
    between_nodes,
    edges_of,
    neighbourhood_divergence,
    reduce_pairs,
    several_classes,
)
from graphkd.graph import Edges, largest_weight
from graphkd.ops.primitives import difference_divergence
from graphkd.ops.segments import segment_sum

# A logit so low that its class has no probability; differences of such logits are finite.
_LEAST = -1e30


def check_ff_g2m_options(
    loss: str,
    *,
    low_weight: float,
    high_weight: float,
    low_temperature: float,
    high_temperature: float,
    reduction: str,
    backend: str,
    chunk_size: int | None,
) -> None:
    """Raise on an option that is out of range."""
    check_weights(loss, low_weight=low_weight, high_weight=high_weight)
    check_positive(f"{loss}: low_temperature", low_temperature)
    check_positive(f"{loss}: high_temperature", high_temperature)
    check_blocked_options(loss, reduction=reduction, backend=backend, chunk_size=chunk_size)


def ff_g2m_loss(
    z_s: Tensor,
    z_t: Tensor,
    edge_index: Any,
    *,
    low_weight: float = 1.0,
    high_weight: float = 1.0,
    low_temperature: float = 1.0,
    high_temperature: float = 1.5,
    weight: Tensor | None = None,
    edge_weight: Tensor | None = None,
    index: Tensor | None = None,
    reduction: str = "mean",
    backend: str = "auto",
    chunk_size: int | None = None,
) -> Tensor:
    r"""Full-frequency distillation into a student that sees no graph.

    .. math::
        L = w_\text{low} L_\text{low} + w_\text{high} L_\text{high}

    In :func:`low_frequency_loss`, a node's prediction matches the teacher's predictions around it.
    In :func:`high_frequency_loss`, predictions differ along edges as the teacher's do.

    Args:
        z_s: Student logits.
        z_t: Teacher logits; they get no gradient.
        edge_index: Edges j → i in any format that :class:`graphkd.Graph` takes, or a Graph.
            Duplicate edges count as often as they occur; self loops are left out.
        low_weight: The weight of the low frequencies; 0 switches them off.
        high_weight: The weight of the high frequencies; 0 switches them off.
        low_temperature: The temperature of the predictions.
        high_temperature: The temperature of the differences.
        weight: A weight for each centre, not negative, before ``index``; in the mean of
            each term it multiplies the centre's pairs. It gets a gradient if it requires one.
        edge_weight: A weight for each edge, not negative, in the order of an ``edge_index``
            tensor; a :class:`graphkd.Graph` holds its own. Both means over P become weighted, see
            the two functions. It gets a gradient if it requires one.
        index: Boolean mask or row numbers of the centres; their neighbours are not restricted.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``: one value per selected centre, whose mean is
            the loss.
        backend: ``"auto"``, ``"reference"`` or ``"chunked"``, for the high frequencies.
        chunk_size: Edges per block of the chunked backend; changes memory, not the value.

    Shapes:
        - **z_s:** :math:`[N, C]`
        - **z_t:** :math:`[N, C]`
        - **edge_index:** :math:`[2, E]`
        - **weight:** :math:`[N]`
        - **edge_weight:** :math:`[E]`
        - **output:** scalar, or one value per selected centre for ``reduction="none"``

    Raises:
        ValueError: If shapes or devices differ, there is a single class, a weight is negative, or
            an option is out of range.
        TypeError: If logits are not floating-point tensors or the graph has no known format.
        IndexError: If an edge or ``index`` names a node that does not exist.

    Source: Wu, Lin, Huang, Fan and Li, AAAI 2023, arXiv 2305.10758. On an undirected graph, the
    value is the same as in the authors' code. That code has equal weights and a single temperature,
    for the differences.

    Example:
        >>> import torch
        >>> from graphkd.functional import ff_g2m_loss
        >>> z_t = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
        >>> ff_g2m_loss(torch.zeros(2, 2), z_t, torch.tensor([[0, 1], [1, 0]]))
        tensor(0.3278)
    """
    loss = "ff_g2m_loss"
    check_ff_g2m_options(
        loss,
        low_weight=low_weight,
        high_weight=high_weight,
        low_temperature=low_temperature,
        high_temperature=high_temperature,
        reduction=reduction,
        backend=backend,
        chunk_size=chunk_size,
    )
    s, t = several_classes(loss, z_s, z_t)
    chosen = resolve_index(loss, index, s)
    weight = row_weights(loss, weight, s, chosen)
    edges = edges_of(loss, edge_index, s, chosen, edge_weight)
    with full_precision(s.device):
        parts, how = [], (chosen, weight, reduction)
        if low_weight:
            sums, pairs = _low(s, t, edges, low_temperature)
            parts.append(low_weight * reduce_pairs(loss, sums, pairs, *how))
        if high_weight:
            blocks = backend, chunk_size
            sums, pairs = _high(loss, s, t, edges, high_temperature, *blocks)
            parts.append(high_weight * reduce_pairs(loss, sums, pairs, *how))
        return parts[0] + parts[1] if len(parts) == 2 else parts[0]


def low_frequency_loss(
    z_s: Tensor,
    z_t: Tensor,
    edge_index: Any,
    *,
    temperature: float = 1.0,
    weight: Tensor | None = None,
    edge_weight: Tensor | None = None,
    index: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Divergence of each node's prediction from the teacher's at the node and its neighbours.

    Replaces ``F.kl_div(log_softmax(z_s)[i], log_softmax(z_t)[j], log_target=True,
    reduction="batchmean")`` over the edges j → i and a self loop at each node, without its
    :math:`E \times C` gathers.

    .. math::
        L_\text{low} = \frac1{|P|} \sum_{(j, i) \in P}
            \mathrm{KL}\left(\sigma(z^t_j/T) \,\Vert\, \sigma(z^s_i/T)\right), \qquad
        P = \{j \to i : j \ne i\} \cup \{(i, i)\}

    over the (selected) centres i. It is smallest if the student predicts the mean of the teacher's
    predictions over the neighbourhood. This minimum is above zero, unless these predictions agree.

    Args:
        z_s: Student logits.
        z_t: Teacher logits; they get no gradient.
        edge_index: Edges, as in :func:`ff_g2m_loss`.
        temperature: T. The value is not multiplied by its square.
        weight: A weight for each centre, not negative, before ``index``; in the mean it
            multiplies the centre's pairs. It gets a gradient if it requires one.
        edge_weight: A weight for each edge, as in :func:`ff_g2m_loss`. The mean over P becomes
            weighted; the pairs (i, i) have weight 1.
        index: Boolean mask or row numbers of the centres; their neighbours are not restricted.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``: one value per selected centre, whose mean is
            the loss.

    Shapes:
        - **z_s:** :math:`[N, C]`
        - **z_t:** :math:`[N, C]`
        - **edge_index:** :math:`[2, E]`
        - **weight:** :math:`[N]`
        - **edge_weight:** :math:`[E]`
        - **output:** scalar, or one value per selected centre for ``reduction="none"``

    Raises:
        ValueError: As :func:`ff_g2m_loss`.
        TypeError: As :func:`ff_g2m_loss`.
        IndexError: As :func:`ff_g2m_loss`.

    Source: Wu et al., AAAI 2023, arXiv 2305.10758.

    Example:
        >>> import torch
        >>> from graphkd.functional import low_frequency_loss
        >>> z_t = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
        >>> low_frequency_loss(torch.zeros(2, 2), z_t, torch.tensor([[0, 1], [1, 0]]))
        tensor(0.3278)
    """
    loss = "low_frequency_loss"
    check_positive(f"{loss}: temperature", temperature)
    check_reduction(loss, reduction)
    s, t = several_classes(loss, z_s, z_t)
    chosen = resolve_index(loss, index, s)
    weight = row_weights(loss, weight, s, chosen)
    edges = edges_of(loss, edge_index, s, chosen, edge_weight)
    with full_precision(s.device):
        sums, pairs = _low(s, t, edges, temperature)
        return reduce_pairs(loss, sums, pairs, chosen, weight, reduction)


def high_frequency_loss(
    z_s: Tensor,
    z_t: Tensor,
    edge_index: Any,
    *,
    temperature: float = 1.5,
    weight: Tensor | None = None,
    edge_weight: Tensor | None = None,
    index: Tensor | None = None,
    reduction: str = "mean",
    backend: str = "auto",
    chunk_size: int | None = None,
) -> Tensor:
    r"""Divergence of the differences of predictions along edges, the student's from the teacher's.

    .. math::
        L_\text{high} = \frac1{|P|} \sum_{(j, i) \in P} \mathrm{KL}\left(
            \sigma(|z^t_j - z^t_i|/T) \,\Vert\, \sigma(|z^s_j - z^s_i|/T)\right), \qquad
        P = \{j \to i : j \ne i\}

    with a softmax over the classes: it matches the classes in which the ends of an edge differ
    most. Without an edge, the value is 0.

    Args:
        z_s: Student logits.
        z_t: Teacher logits; they get no gradient.
        edge_index: Edges, as in :func:`ff_g2m_loss`.
        temperature: T. The value is not multiplied by its square.
        weight: A weight for each centre, not negative, before ``index``; in the mean it
            multiplies the centre's pairs. It gets a gradient if it requires one.
        edge_weight: A weight for each edge, as in :func:`ff_g2m_loss`. The mean over P becomes
            weighted, and equal weights change nothing.
        index: Boolean mask or row numbers of the centres; their neighbours are not restricted.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``: one value per selected centre, whose mean is
            the loss.
        backend: ``"auto"``, ``"reference"`` or ``"chunked"``.
        chunk_size: Edges per block of the chunked backend; changes memory, not the value.

    Shapes:
        - **z_s:** :math:`[N, C]`
        - **z_t:** :math:`[N, C]`
        - **edge_index:** :math:`[2, E]`
        - **weight:** :math:`[N]`
        - **edge_weight:** :math:`[E]`
        - **output:** scalar, or one value per selected centre for ``reduction="none"``

    Raises:
        ValueError: As :func:`ff_g2m_loss`.
        TypeError: As :func:`ff_g2m_loss`.
        IndexError: As :func:`ff_g2m_loss`.

    Source: Wu et al., AAAI 2023, arXiv 2305.10758.

    Example:
        >>> import torch
        >>> from graphkd.functional import high_frequency_loss
        >>> z_t = torch.tensor([[3.0, 0.0], [0.0, 0.0]])
        >>> high_frequency_loss(torch.zeros(2, 2), z_t, torch.tensor([[0, 1], [1, 0]]))
        tensor(0.3278)
    """
    loss = "high_frequency_loss"
    check_positive(f"{loss}: temperature", temperature)
    check_blocked_options(loss, reduction=reduction, backend=backend, chunk_size=chunk_size)
    s, t = several_classes(loss, z_s, z_t)
    chosen = resolve_index(loss, index, s)
    weight = row_weights(loss, weight, s, chosen)
    edges = edges_of(loss, edge_index, s, chosen, edge_weight)
    with full_precision(s.device):
        sums, pairs = _high(loss, s, t, edges, temperature, backend, chunk_size)
        return reduce_pairs(loss, sums, pairs, chosen, weight, reduction)


def _low(s: Tensor, t: Tensor, edges: Edges, temperature: float) -> tuple[Tensor, Tensor]:
    """The sum of each centre's pairs in the loss on low frequencies, and their weight."""
    return neighbourhood_divergence(s / temperature, t / temperature, edges)


def _high(
    loss: str,
    s: Tensor,
    t: Tensor,
    edges: Edges,
    temperature: float,
    backend: str,
    chunk_size: int | None,
) -> tuple[Tensor, Tensor]:
    """The sum of each centre's pairs in the loss on high frequencies, and their weight."""
    # Two ends that are masked by −∞ in one class do not differ there.
    s, t = (z.clamp(min=_LEAST) for z in (s, t))
    weight = between_nodes(edges)
    if edges.weight is not None:
        weight = weight / largest_weight(weight)
        edges = edges.weighted(weight.to(s.dtype))
    sums = difference_divergence(loss, s, t, edges, temperature, backend, chunk_size)
    return sums, segment_sum(weight, edges.dst, edges.num_dst)
