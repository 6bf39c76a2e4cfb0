r"""Shared by the losses along edges: the edges into the chosen centres, and sums over them.

The targets :math:`q_j` of a node enter a divergence only through their weighted mean:

.. math::
    \sum_j w_j\,\mathrm{KL}(q_j \Vert p) = W\,\mathrm{KL}(\bar q \Vert p)
        + W H(\bar q) - \sum_j w_j H(q_j), \qquad
    W = \sum_j w_j, \quad \bar q = \frac1W \sum_j w_j q_j

The last two terms depend only on the teacher. They are in float64, because they may nearly cancel.
"""

from typing import Any

import torch
from torch import Tensor

from graphkd._precision import exact, traced
from graphkd.functional._rows import matched_logits, reduce_rows, select_rows
from graphkd.graph import Edges, resolve_edges
from graphkd.ops.chunked.neighbours import neighbour_sums
from graphkd.ops.row_primitives import soft_targets


def several_classes(loss: str, z_s: Tensor, z_t: Tensor) -> tuple[Tensor, Tensor]:
    """Checked logits of all nodes, which must have at least two classes."""
    s, t, _ = matched_logits(loss, z_s, z_t)
    if z_s.size(1) < 2:
        raise ValueError(
            f"{loss}: z_s and z_t must have at least two classes; got shape {tuple(z_s.shape)}. "
            "Pass two logits for a binary output, e.g. torch.cat([z, -z], dim=1) / 2."
        )
    return s, t


def edges_into(edges: Edges, chosen: Tensor | None) -> Tensor:
    """A mask of the edges that end in the chosen centres."""
    if chosen is None:
        return torch.ones_like(edges.dst, dtype=torch.bool)
    member = torch.zeros(edges.num_dst, dtype=torch.bool, device=edges.dst.device)
    return member.index_fill(0, chosen, True).index_select(0, edges.dst)


def edges_of(loss: str, edge_index: Any, like: Tensor, chosen: Tensor | None) -> Edges:
    """The edges into the chosen centres; under tracing, all edges."""
    every = resolve_edges(loss, edge_index, like.size(0), like.size(0), like.device)
    if chosen is None or traced():
        return every
    select_rows(loss, every.ptr.diff(), chosen)  # raises if a row does not exist
    return every.only(edges_into(every, chosen))


def between_nodes(edges: Edges) -> Tensor:
    """1 for each edge between two nodes and 0 for each self loop."""
    return exact((edges.src != edges.dst).float())


def reduce_pairs(
    loss: str,
    sums: Tensor,
    pairs: Tensor,
    chosen: Tensor | None,
    weight: Tensor | None,
    reduction: str,
) -> Tensor:
    """The reduced row values; their mean is the mean over all pairs of the chosen rows.

    With weights it is Σ w_i sums_i / Σ w_i pairs_i, so that a weight of 0 leaves a centre out.

    Args:
        loss: The loss's name.
        sums: Each row's sum over its pairs.
        pairs: The number of each row's pairs, or their weight.
        chosen: The rows that count.
        weight: The weights of the chosen rows.
        reduction: ``"none"``, ``"sum"`` or ``"mean"``.
    """
    sums, pairs = select_rows(loss, sums, chosen), select_rows(loss, pairs, chosen)
    total = pairs.sum()
    scale = sums.size(0) / total.masked_fill(total == 0, 1)
    rows = sums * scale.to(sums.dtype)
    if weight is None:
        return reduce_rows(rows, reduction)
    return reduce_rows(rows, reduction, weight, pairs * scale)


def neighbourhood_divergence(
    s: Tensor, t: Tensor, edges: Edges, weight: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Σ w_j KL(q_j ‖ p_i) over node i itself and its neighbours j → i, and their total weight.

    The pair of node i with itself has weight 1 and counts once, with or without a self loop.

    Args:
        s: The student's logits.
        t: The teacher's logits.
        edges: The edges.
        weight: The weight of each node as a neighbour; default: 1.
    """
    target = exact(t).softmax(dim=1)
    entropy = torch.special.entr(target).sum(dim=1, keepdim=True)
    own = torch.cat([target, entropy, torch.ones_like(entropy)], dim=1)
    lent = own if weight is None else own * exact(weight).unsqueeze(1)
    sums = own + neighbour_sums(lent, between_nodes(edges), edges)
    total, entropies = sums[:, -1], sums[:, -2]
    mean = sums[:, :-2] / total.unsqueeze(1)
    spread = (total * torch.special.entr(mean).sum(dim=1) - entropies).clamp(min=0)
    rows = total.to(s.dtype) * soft_targets(s, mean.log().to(s.dtype)) + spread.to(s.dtype)
    return rows, total
