"""Low and high frequencies of the teacher's predictions over the graph: FF-G2M."""

from typing import Any

from torch import Tensor

from graphkd._checks import check_positive
from graphkd._precision import full_precision
from graphkd.functional._blocked import check_blocked_options
from graphkd.functional._rows import reduce_rows, resolve_index
from graphkd.functional._terms import check_weights
from graphkd.functional.neighbours._neighbourhood import edges_of, read_logits
from graphkd.functional.neighbours.frequencies import high_rows, low_rows
from graphkd.ops import pick_backend


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
    index: Tensor | None = None,
    reduction: str = "mean",
    backend: str = "auto",
    chunk_size: int | None = None,
) -> Tensor:
    r"""Full-frequency distillation into a student that sees no graph.

    .. math::
        L = w_\text{low} L_\text{low} + w_\text{high} L_\text{high}

    of :func:`low_frequency_loss`, in which a node's prediction meets those of its neighbours, and
    :func:`high_frequency_loss`, in which it is to differ from them as the teacher's do.

    Args:
        z_s: Student logits.
        z_t: Teacher logits; they get no gradient.
        edge_index: Edges j → i in any format that :class:`graphkd.Graph` takes, or a Graph.
            Duplicate edges count as often as they occur; self loops are left out.
        low_weight: The weight of the low frequencies; 0 switches them off.
        high_weight: The weight of the high frequencies; 0 switches them off.
        low_temperature: The temperature of the predictions.
        high_temperature: The temperature of the differences.
        index: Boolean mask or row numbers of the centres; their neighbours are not restricted.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``: one value per selected centre, whose mean is
            the loss.
        backend: ``"auto"``, ``"reference"`` or ``"chunked"``, for the high frequencies.
        chunk_size: Edges per block of the chunked backend; changes memory, not the value.

    Shapes:
        - **z_s:** :math:`[N, C]`
        - **z_t:** :math:`[N, C]`
        - **edge_index:** :math:`[2, E]`
        - **output:** scalar, or one value per selected centre for ``reduction="none"``

    Raises:
        ValueError: If shapes or devices differ, there is a single class, or an option is out of
            range.
        TypeError: If logits are not floating-point tensors or the graph has no known format.
        IndexError: If an edge or ``index`` names a node that does not exist.

    Source: Wu, Lin, Huang, Fan and Li, AAAI 2023, arXiv 2305.10758. The value is that of the
    authors' code, on an undirected graph; it has equal weights and a single temperature, that of
    the differences.

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
    p, q = read_logits(loss, z_s, z_t)
    chosen = resolve_index(loss, index, p)
    edges = edges_of(loss, edge_index, p, chosen)
    backend = pick_backend(loss, backend, p, chunk_size=chunk_size, programs=False)
    with full_precision(p.device):
        parts = []
        if low_weight:
            parts.append(low_weight * low_rows(loss, p, q, edges, chosen, low_temperature))
        if high_weight:
            rows = high_rows(loss, p, q, edges, chosen, high_temperature, backend, chunk_size)
            parts.append(high_weight * rows)
        return reduce_rows(parts[0] + parts[1] if len(parts) == 2 else parts[0], reduction)
