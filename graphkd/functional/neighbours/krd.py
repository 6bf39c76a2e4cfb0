"""Reliable neighbours of the teacher as further targets: KRD."""

from typing import Any

from torch import Tensor

from graphkd._checks import check_positive, check_temperature
from graphkd._precision import exact, full_precision
from graphkd.functional._options import check_reduction
from graphkd.functional._rows import resolve_index, row_weights
from graphkd.functional.neighbours._edges import (
    edges_of,
    neighbourhood_divergence,
    reduce_pairs,
    several_classes,
)
from graphkd.functional.neighbours.reliability import check_reliability


def check_krd_options(
    loss: str, *, temperature: float, reduction: str, alpha: float | Tensor = 1.0
) -> None:
    """Raise on an option that is out of range."""
    check_temperature(f"{loss}: alpha", alpha)
    check_positive(f"{loss}: temperature", temperature)
    check_reduction(loss, reduction)


def krd_loss(
    z_s: Tensor,
    z_t: Tensor,
    edge_index: Any,
    reliability: Tensor,
    *,
    alpha: float | Tensor = 1.0,
    temperature: float = 1.0,
    weight: Tensor | None = None,
    edge_weight: Tensor | None = None,
    index: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Divergence of each node's prediction from the teacher's at the node and reliable neighbours.

    .. math::
        w_j = 1 - (1 - r_j)^\alpha, \qquad
        L = \frac{\sum_i \left(\mathrm{KL}(q_i \Vert p_i)
              + \sum_{j \to i, j \ne i} w_j\,\mathrm{KL}(q_j \Vert p_i)\right)}
             {\sum_i \left(1 + \sum_{j \to i, j \ne i} w_j\right)}

    with the predictions :math:`p = \sigma(z^s/T)`, :math:`q = \sigma(z^t/T)` and the
    reliabilities r. The authors draw neighbours in each epoch, neighbour j with probability
    :math:`w_j`, and take the mean over the drawn pairs. This loss is the expected sum over the
    expected number of pairs, without noise from the draw.

    Args:
        z_s: Student logits.
        z_t: Teacher logits; they get no gradient.
        edge_index: Edges j → i in any format that :class:`graphkd.Graph` takes, or a Graph.
            Duplicate edges count as often as they occur; self loops are left out.
        reliability: The reliability of each node, from 0 to 1 for the most reliable, see
            :func:`measure_reliability`; it gets no gradient.
        alpha: The power; if it is larger, neighbours count more. See
            :func:`fit_reliability_power`, which KRD calls during training.
        temperature: T. The value is not multiplied by its square.
        weight: A weight for each centre, not negative, before ``index``; in the mean it multiplies
            the centre's two sums above. It gets a gradient if it requires one.
        edge_weight: A weight for each edge, not negative, in the order of an ``edge_index``
            tensor; a :class:`graphkd.Graph` holds its own. It multiplies :math:`w_j` in both sums,
            beside the node's pair with itself of weight 1. It gets a gradient if it requires one.
        index: Boolean mask or row numbers of the centres; their neighbours are not restricted.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``: one value per selected centre, whose mean is
            the loss.

    Shapes:
        - **z_s:** :math:`[N, C]`
        - **z_t:** :math:`[N, C]`
        - **edge_index:** :math:`[2, E]`
        - **reliability:** :math:`[N]`
        - **weight:** :math:`[N]`
        - **edge_weight:** :math:`[E]`
        - **output:** scalar, or one value per selected centre for ``reduction="none"``

    Raises:
        ValueError: If shapes or devices differ, there is a single class, a reliability does not lie
            between 0 and 1, a weight is negative, or an option is out of range.
        TypeError: If logits are not floating-point tensors or the graph has no known format.
        IndexError: If an edge or ``index`` names a node that does not exist.

    Source: Wu, Lin, Huang and Li, ICML 2023, arXiv 2306.05628. On drawn edges, with all
    reliabilities 1, the value is the same as in the authors' code.

    Example:
        >>> import torch
        >>> from graphkd.functional import krd_loss
        >>> z_t = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
        >>> edge_index = torch.tensor([[0, 1], [1, 0]])
        >>> none = torch.tensor([0.0, 0.0])  # no neighbour is reliable
        >>> krd_loss(z_t, z_t, edge_index, none).round(decimals=6)
        tensor(0.)
        >>> krd_loss(z_t, z_t, edge_index, torch.tensor([1.0, 0.0]))   # node 1 is to follow node 0
        tensor(0.5077)
    """
    loss = "krd_loss"
    check_krd_options(loss, alpha=alpha, temperature=temperature, reduction=reduction)
    s, t = several_classes(loss, z_s, z_t)
    check_reliability(loss, reliability, s)
    chosen = resolve_index(loss, index, s)
    weight = row_weights(loss, weight, s, chosen)
    edges = edges_of(loss, edge_index, s, chosen, edge_weight)
    with full_precision(s.device):
        lent = 1 - (1 - exact(reliability.detach())) ** alpha
        sums, pairs = neighbourhood_divergence(s / temperature, t / temperature, edges, lent)
        return reduce_pairs(loss, sums, pairs, chosen, weight, reduction)
