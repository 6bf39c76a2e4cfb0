"""G-CRD's row values in both directions from one look at the similarities.

Replaces the mean of ``F.cross_entropy(logits, arange)`` and ``F.cross_entropy(logits.T, arange)``
of the cosines over the temperature.
"""

import math

import torch
from torch import Tensor

from graphkd._powers import exp_
from graphkd.ops._autograd import fused
from graphkd.ops._blocks import Tile, breadth, numbers, row_products, slices
from graphkd.ops.chunked.infonce import bounded, divided, learned, mask_positives, normalized, sweep


def symmetric_infonce(
    p: Tensor,
    q: Tensor,
    more: Tensor,
    drawn: Tensor | None,
    temperature: float | Tensor,
    chunk_size: int | None,
    weight: Tensor | None = None,
) -> Tensor:
    """The mean of ``infonce(p, q)`` and ``infonce(q, p)``, row by row.

    Further keys count in the first direction only, and get no gradient.
    """
    if isinstance(temperature, Tensor):
        args = *divided(p, q, more, temperature), drawn, temperature, chunk_size or 0
        return _learned(*args, expected=weight)
    return _symmetric(p, q, more, drawn, temperature, chunk_size or 0, expected=weight)


def _there_and_back(
    weights: Tensor | None,
    p: Tensor,
    q: Tensor,
    more: Tensor,
    drawn: Tensor | None,
    temperature: float,
    chunk_size: int,
    need_p: bool,
    need_q: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The same by one sweep for each direction.

    A sweep can keep a running maximum, and the pairs with drawn keys differ by direction.
    """
    there = sweep(weights, p, q, more, drawn, temperature, chunk_size, need_p, need_q)
    back = sweep(weights, q, p, more[:0], drawn, temperature, chunk_size, need_q, need_p)
    rows, grad_p, grad_q = there[0] + back[0], there[1], there[2]
    if need_p:
        grad_p += back[2]
    if need_q:
        grad_q += back[1]
    return rows / 2, grad_p.div_(2), grad_q.div_(2)


def _sweep(
    weights: Tensor | None,
    p: Tensor,
    q: Tensor,
    more: Tensor,
    drawn: Tensor | None,
    temperature: float,
    chunk_size: int,
    need_p: bool,
    need_q: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The rows, and the gradients of Σ weight_i · row_i, for unit rows p and q.

    One e_ij = exp((s_ij − 1)/τ) serves both directions. They shift by s_ii or by s_jj, which is a
    factor on the sum of a row or a column. The gradients need both sums, so that e is computed
    again unless all of it fits in one tile.
    """
    n, keys = p.size(0), q.size(0) + more.size(0)
    if drawn is not None or not bounded(temperature, keys, p.dtype):
        how = temperature, chunk_size, need_p, need_q
        return _there_and_back(weights, p, q, more, drawn, *how)
    most = numbers(p.device)
    if chunk_size:
        height = min(chunk_size, max(n, 1))
        width = breadth(height, keys, most)
    else:
        height = width = max(keys, 1) if n * keys <= most else math.isqrt(most) // 2
    own = row_products(p, q).div_(temperature)
    over_keys, over_anchors = p.new_zeros(n), p.new_zeros(n)
    tiles = [
        (i, of, j) for i in slices(n, height) for of in (more, q) for j in slices(of.size(0), width)
    ]
    room = Tile(p, height, width)

    def exponentials(i: slice, of: Tensor, j: slice) -> Tensor:
        tile = exp_(room.products(p[i] / temperature, of[j]).sub_(1 / temperature))
        if of is q:
            mask_positives(tile, (i, j), 0.0)
        return tile

    for i, of, j in tiles:
        tile = exponentials(i, of, j)
        over_keys[i] += tile.sum(dim=1)
        if of is q:
            over_anchors[j] += tile.sum(dim=0)
    factor = (1 / temperature - own).exp()
    # A row that is its own only key has no other similarities: a NaN in it shows only here.
    rows = ((over_keys * factor).log1p() + (over_anchors * factor).log1p()) / 2 + (own - own)
    grad_p = torch.zeros_like(p) if need_p else p.new_empty(0)
    grad_q = torch.zeros_like(q) if need_q else q.new_empty(0)
    if not (need_p or need_q):
        return rows, grad_p, grad_q
    pull = factor / (2 * temperature)
    if weights is not None:
        pull = pull * weights
    by_row = pull / (1 + over_keys * factor)
    by_column = pull / (1 + over_anchors * factor)
    for i, of, j in tiles:
        if len(tiles) > 1:
            tile = exponentials(i, of, j)
        tile.mul_(by_row[i, None] + by_column[j] if of is q else by_row[i, None])
        if need_p:
            grad_p[i].addmm_(tile, of[j])
        if need_q and of is q:
            grad_q[j].addmm_(tile.T, p[i])
    # A positive loses what all others of its row and its column get.
    rest = (by_row * over_keys + by_column * over_anchors)[:, None]
    if need_p:
        grad_p.addcmul_(q, rest, value=-1)
    if need_q:
        grad_q.addcmul_(p, rest, value=-1)
    return rows, grad_p, grad_q


_symmetric = fused("symmetric_infonce", normalized(_sweep), backend="chunked")
_learned = fused("learned_symmetric_infonce", learned(_sweep), backend="chunked")
