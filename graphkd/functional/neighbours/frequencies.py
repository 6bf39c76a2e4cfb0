"""Low and high frequencies of the teacher's predictions over the graph: the parts of FF-G2M."""

from typing import Any

from torch import Tensor

from graphkd._checks import check_positive
from graphkd._precision import full_precision
from graphkd.functional._blocked import check_blocked_options
from graphkd.functional._rows import check_reduction, reduce_rows, resolve_index
from graphkd.functional.neighbours._neighbourhood import (
    between_nodes,
    edges_of,
    neighbourhood_divergence,
    per_pair,
    read_logits,
)
from graphkd.graph import Edges
from graphkd.ops import pick_backend
from graphkd.ops.chunked.edge_differences import (
    dense_difference_divergence,
    difference_divergence,
)
from graphkd.ops.segments import segment_sum


def low_frequency_loss(
    z_s: Tensor,
    z_t: Tensor,
    edge_index: Any,
    *,
    temperature: float = 1.0,
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

    over the (selected) centres i. It is smallest where the student predicts the mean of the
    teacher's predictions over the neighbourhood, and above zero there, unless these agree.

    Args:
        z_s: Student logits.
        z_t: Teacher logits; they get no gradient.
        edge_index: Edges, as in :func:`ff_g2m_loss`.
        temperature: T. The value is not multiplied by its square.
        index: Boolean mask or row numbers of the centres; their neighbours are not restricted.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``: one value per selected centre, whose mean is
            the loss.

    Shapes:
        - **z_s:** :math:`[N, C]`
        - **z_t:** :math:`[N, C]`
        - **edge_index:** :math:`[2, E]`
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
    p, q = read_logits(loss, z_s, z_t)
    chosen = resolve_index(loss, index, p)
    edges = edges_of(loss, edge_index, p, chosen)
    with full_precision(p.device):
        return reduce_rows(low_rows(loss, p, q, edges, chosen, temperature), reduction)


def high_frequency_loss(
    z_s: Tensor,
    z_t: Tensor,
    edge_index: Any,
    *,
    temperature: float = 1.5,
    index: Tensor | None = None,
    reduction: str = "mean",
    backend: str = "auto",
    chunk_size: int | None = None,
) -> Tensor:
    r"""Divergence of how the student's predictions differ along edges from how the teacher's do.

    .. math::
        L_\text{high} = \frac1{|P|} \sum_{(j, i) \in P} \mathrm{KL}\left(
            \sigma(|z^t_j - z^t_i|/T) \,\Vert\, \sigma(|z^s_j - z^s_i|/T)\right), \qquad
        P = \{j \to i : j \ne i\}

    with a softmax over the classes: it is the classes in which the ends of an edge differ most that
    are matched. Without an edge the value is 0.

    Args:
        z_s: Student logits.
        z_t: Teacher logits; they get no gradient.
        edge_index: Edges, as in :func:`ff_g2m_loss`.
        temperature: T. The value is not multiplied by its square.
        index: Boolean mask or row numbers of the centres; their neighbours are not restricted.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``: one value per selected centre, whose mean is
            the loss.
        backend: ``"auto"``, ``"reference"`` or ``"chunked"``.
        chunk_size: Edges per block of the chunked backend; changes memory, not the value.

    Shapes:
        - **z_s:** :math:`[N, C]`
        - **z_t:** :math:`[N, C]`
        - **edge_index:** :math:`[2, E]`
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
    p, q = read_logits(loss, z_s, z_t)
    chosen = resolve_index(loss, index, p)
    edges = edges_of(loss, edge_index, p, chosen)
    backend = pick_backend(loss, backend, p, chunk_size=chunk_size, programs=False)
    with full_precision(p.device):
        rows = high_rows(loss, p, q, edges, chosen, temperature, backend, chunk_size)
        return reduce_rows(rows, reduction)


def low_rows(
    loss: str, p: Tensor, q: Tensor, edges: Edges, chosen: Tensor | None, temperature: float
) -> Tensor:
    """Values of the centres whose mean is the loss on low frequencies."""
    sums, pairs = neighbourhood_divergence(p / temperature, q / temperature, edges)
    return per_pair(loss, sums, pairs, chosen)


def high_rows(
    loss: str,
    p: Tensor,
    q: Tensor,
    edges: Edges,
    chosen: Tensor | None,
    temperature: float,
    backend: str,
    chunk_size: int | None,
) -> Tensor:
    """The same on high frequencies."""
    if backend == "reference":
        sums = dense_difference_divergence(p, q, edges, temperature)
    else:
        sums = difference_divergence(p, q, edges, temperature, chunk_size)
    pairs = segment_sum(between_nodes(edges), edges.dst, edges.num_dst)
    return per_pair(loss, sums, pairs, chosen)
