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
from graphkd.graph import Edges, largest_weight, resolve_edges
from graphkd.ops.chunked.neighbours import edge_products, neighbour_sums
from graphkd.ops.row_primitives import soft_targets
from graphkd.ops.segments import segment_sum

# A logarithm so low that its class has no probability; its product with 0 is 0.
_LEAST = -1e30


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


def edges_of(
    loss: str,
    edge_index: Any,
    like: Tensor,
    chosen: Tensor | None,
    edge_weight: Tensor | None,
) -> Edges:
    """The edges into the chosen centres, with the user's weights; under tracing, all edges."""
    n = like.size(0)
    every = resolve_edges(loss, edge_index, n, n, like.device, edge_weight)
    if chosen is None or traced():
        return every
    select_rows(loss, every.ptr.diff(), chosen)  # raises if a row does not exist
    return every.only(edges_into(every, chosen))


def between_nodes(edges: Edges) -> Tensor:
    """The weight of each edge between two nodes, 1 unless given, and 0 for each self loop."""
    apart = edges.src != edges.dst
    if edges.weight is None:
        return exact(apart.float())
    return exact(edges.weight).masked_fill(~apart, 0)


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
    """Σ v_e w_j KL(q_j ‖ p_i) over node i itself and its edges e: j → i, and their total weight.

    The pair of node i with itself has weight 1 and counts once, with or without a self loop. Both
    results are up to one factor, which keeps huge weights of edges finite.

    Args:
        s: The student's logits.
        t: The teacher's logits.
        edges: The edges, with their weights v.
        weight: The weight w of each node as a neighbour; default: 1.
    """
    target = exact(t).softmax(dim=1)
    entropy = torch.special.entr(target).sum(dim=1, keepdim=True)
    own = torch.cat([target, entropy, torch.ones_like(entropy)], dim=1)
    lent = own if weight is None else own * exact(weight).unsqueeze(1)
    shares = between_nodes(edges)
    if edges.weight is not None:
        most = largest_weight(shares, 1.0)
        shares, own = shares / most, own / most
    sums = own + neighbour_sums(lent, shares.detach(), edges)
    total, entropies = sums[:, -1], sums[:, -2]
    mean = sums[:, :-2] / total.unsqueeze(1)
    spread = (total * torch.special.entr(mean).sum(dim=1) - entropies).clamp(min=0)
    rows = total.to(s.dtype) * soft_targets(s, mean.log().to(s.dtype)) + spread.to(s.dtype)
    if not shares.requires_grad:
        return rows, total
    # Both are linear in the weights: to zeros with their gradient belong the values on each edge.
    learning = shares - shares.detach()
    log_p = exact(s).log_softmax(dim=1).clamp(min=_LEAST)
    entropies, weights = (lent[:, i].index_select(0, edges.src) for i in (-2, -1))
    values = -entropies - edge_products(lent[:, :-2], log_p, edges)
    more = segment_sum(learning * values, edges.dst, edges.num_dst).to(s.dtype)
    return rows + more, total + segment_sum(learning * weights, edges.dst, edges.num_dst)
