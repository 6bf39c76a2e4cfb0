"""G-CRD over ranks: the keys visit the anchors of every rank, then the anchors visit the keys.

The second round computes the gradient for the keys on their own rank. An anchor brings its row and
two numbers, one of which holds its sum, so that no gradient travels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from graphkd._precision import exact
from graphkd.distributed import Ranks
from graphkd.ops._autograd import empty_gradient
from graphkd.ops._blocks import Tile, breadth, numbers, row_products, slices
from graphkd.ops.chunked.infonce import (
    AnchorSums,
    Drawn,
    bounded,
    exponentials,
    sweep_keys,
    tile_height,
)


def infonce(
    weights: Tensor | None,
    p: Tensor,
    q: Tensor,
    more: Tensor,
    further: Sequence[int],
    temperature: float,
    chunk_size: int | None,
    ranks: Ranks,
    drawn: Tensor | None,
    needs: tuple[bool, bool, bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """This rank's rows, and the gradients for its p and q of all ranks' Σ weight_i · row_i.

    Args:
        weights: The weights of this rank's rows; None: ones.
        p: Unit anchors.
        q: Unit keys, their positives.
        more: Further unit keys, negatives of all ranks' anchors.
        further: How many further keys each rank has.
        temperature: The temperature.
        chunk_size: How many anchors make a block.
        ranks: The ranks.
        drawn: The numbers of the rows of all ranks that are negatives; None: all of them.
        needs: Whether this rank needs the gradient for p; this rank, for q; any rank, for q.
    """
    if drawn is not None:
        rest = temperature, chunk_size, ranks, drawn, needs
        return _infonce_drawn(weights, p, q, more, further, *rest)
    need_p, need_q, any_q = needs
    n, counts = p.size(0), [a + b for a, b in zip(ranks.rows(), further, strict=True)]
    longest = max(counts)
    most = numbers(p.device)
    height = tile_height(max(ranks.rows()), longest, chunk_size or 0, most)
    width = breadth(height, longest, most)
    safe = bounded(temperature, sum(counts), p.dtype)
    own = row_products(p, q).div_(temperature)
    room = Tile(p, height, min(width, max(longest, 1)))
    blocks = list(slices(n, height))
    sums = [AnchorSums(p[i] / temperature, safe, need_p) for i in blocks]
    for owner, keys in ranks.ring(torch.cat([q, more]), counts):
        for i, known in zip(blocks, sums, strict=True):
            for j in slices(keys.size(0), width):
                known.add(room, own[i], keys[j], (i, j) if owner == ranks.rank else None)
    grad_p, grad_q = empty_gradient(p, need_p), q.new_empty(0)
    # Each anchor's row, shift and pull, for the second round.
    anchors = torch.cat([p, p.new_empty(n, 2)], dim=1)
    rows = exact(own - own)  # the NaN of a row that is its own only key
    for i, known in zip(blocks, sums, strict=True):
        rows[i] += known.rows()
        pull = known.pull(temperature)
        if weights is not None:
            pull *= weights[i]
        anchors[i, -2], anchors[i, -1] = own[i] + known.peak, pull
        if need_p:
            known.gradient(q[i], pull, grad_p[i])
    if not any_q:
        return rows, grad_p, grad_q
    if need_q:
        grad_q = torch.zeros_like(q)
        for i, known in zip(blocks, sums, strict=True):
            grad_q[i].addcmul_(p[i], (known.total * anchors[i, -1])[:, None], value=-1)
    del sums
    for owner, block in ranks.ring(anchors, ranks.rows()):
        for i in slices(block.size(0), height) if need_q else ():
            others, shift, pull = block[i, :-2], block[i, -2], block[i, -1]
            scaled, pushed = others / temperature, others * pull[:, None]
            for j in slices(n, width):
                at = (i, j) if owner == ranks.rank else None
                tile = exponentials(room, scaled, shift, q[j], at)
                grad_q[j].addmm_(tile.T, pushed)
    return rows, grad_p, grad_q


def _infonce_drawn(
    weights: Tensor | None,
    p: Tensor,
    q: Tensor,
    more: Tensor,
    further: Sequence[int],
    temperature: float,
    chunk_size: int | None,
    ranks: Ranks,
    drawn: Tensor,
    needs: tuple[bool, bool, bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """The same with a few keys, which every rank holds, as it holds all further keys."""
    need_p, need_q, any_q = needs
    local = drawn - sum(ranks.rows()[: ranks.rank])
    here = ((local >= 0) & (local < p.size(0))).nonzero().view(-1)
    column = local.new_full((p.size(0),), -1).index_copy(0, local[here], here)
    few = Drawn(ranks.pick(q, drawn), column, ranks.total())
    more = torch.cat([keys for _, keys in ranks.ring(more, further)])
    rest = temperature, chunk_size or 0, need_p, any_q
    rows, grad_p, grad_q, grad_keys = sweep_keys(weights, p, q, more, few, *rest)
    if any_q:
        ranks.sum(grad_keys)
        grad_q.index_add_(0, local[here], grad_keys[here])
    return exact(rows), grad_p, grad_q if need_q else q.new_empty(0)
