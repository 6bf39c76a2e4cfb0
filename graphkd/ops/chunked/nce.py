"""CRD's row values, a block of anchors against a bank's keys at a time, with the gradient.

Replaces ``softplus(-x_pos) + softplus(x).sum(dim=1)`` of the B × M matrix x. The formula has no
normaliser that must be known first, so that each tile is visited once.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from graphkd.ops._autograd import empty_gradient, fused
from graphkd.ops._blocks import Tile, breadth, numbers, row_products, slices
from graphkd.ops.chunked.infonce import tile_height
from graphkd.ops.reference.nce import LINEAR


def nce(
    p: Tensor,
    positives: Tensor,
    keys: Tensor,
    own: Tensor,
    shift: Tensor,
    temperature: float,
    chunk_size: int | None,
) -> Tensor:
    """As ``reference.nce``, differentiable once in ``p``.

    Args:
        p: Anchors, B of them.
        positives: Each anchor's positive key; it gets no gradient.
        keys: The negatives of all anchors, except one key for each.
        own: The number of that key for each anchor.
        shift: The number subtracted from similarities over the temperature.
        temperature: The temperature.
        chunk_size: How many anchors make a block.
    """
    return _nce(p, positives, keys, own, shift, temperature, chunk_size or 0)


def _sweep(
    weights: Tensor | None,
    p: Tensor,
    positives: Tensor,
    keys: Tensor,
    own: Tensor,
    shift: Tensor,
    temperature: float,
    chunk_size: int,
    need_p: bool,
    need_q: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    n, count = p.size(0), keys.size(0)
    most = numbers(p.device)
    height = tile_height(n, count, chunk_size, most)
    width = breadth(height, count, most)
    rows, gradient = p.new_empty(n), empty_gradient(p, need_p)
    shift = shift.to(p.dtype)
    room = Tile(p, height, min(width, max(count, 1)))
    for i in slices(n, height):
        scaled = p[i] / temperature
        against = shift - row_products(scaled, positives[i])
        value = F.softplus(against, threshold=LINEAR)
        pulled = positives[i] * -against.sigmoid()[:, None]
        for j in slices(count, width):
            tile = room.products(scaled, keys[j]).sub_(shift)
            _leave_out(tile, own[i] - j.start)
            value += F.softplus(tile, threshold=LINEAR).sum(dim=1)
            if need_p:
                pulled.addmm_(tile.sigmoid_(), keys[j])
        rows[i] = value
        if need_p:
            factor = 1 if weights is None else weights[i, None]
            gradient[i] = pulled * factor / temperature
    return rows, gradient, empty_gradient(positives, need_q)


def _leave_out(tile: Tensor, column: Tensor) -> None:
    """Leave one column of each row out, if the tile has it."""
    inside = (column >= 0) & (column < tile.size(1))
    place = column.clamp(0, tile.size(1) - 1)[:, None]
    there = tile.gather(1, place)
    tile.scatter_(1, place, there.masked_fill(inside[:, None], -torch.inf))


_nce = fused("nce", _sweep, backend="chunked")
