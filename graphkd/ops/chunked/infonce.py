"""G-CRD's row values, a block of anchors against all keys at a time, and the gradients with them.

Replaces ``F.cross_entropy(unit(p) @ unit(q).T / temperature, arange, reduction="none")``.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from graphkd.ops._autograd import empty_gradient, fused
from graphkd.ops._blocks import BLOCK, Tile, breadth, row_products, slices
from graphkd.similarity import unit_and_inverse, unit_gradient_


def infonce(p: Tensor, q: Tensor, temperature: float, chunk_size: int | None) -> Tensor:
    """−log softmax_j(cos(p_i, q_j) / temperature) at j = i, for every row i.

    Args:
        p: Anchors.
        q: Keys. The first of them are the anchors' positives; more may follow.
        temperature: The temperature.
        chunk_size: How many anchors make a block.
    """
    return _infonce(p, q, temperature, chunk_size or 0)


def normalized(sweep: Callable[..., Any]) -> Callable[..., Any]:
    """Make a sweep over unit rows one over any rows, with the gradients for those."""

    def of_any_rows(
        weights: Tensor | None,
        p: Tensor,
        q: Tensor,
        temperature: float,
        chunk_size: int,
        need_p: bool,
        need_q: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        (unit_p, inverse_p), (unit_q, inverse_q) = unit_and_inverse(p), unit_and_inverse(q)
        rows, grad_p, grad_q = sweep(
            weights, unit_p, unit_q, temperature, chunk_size, need_p, need_q
        )
        if need_p:
            unit_gradient_(grad_p, unit_p, inverse_p)
        if need_q:
            unit_gradient_(grad_q, unit_q, inverse_q)
        return rows, grad_p, grad_q

    return of_any_rows


def bounded(temperature: float, keys: int, dtype: torch.dtype) -> bool:
    """Whether Σ exp((s_ij − s_ii)/τ) cannot overflow, so that no running maximum is needed."""
    room = math.log(torch.finfo(dtype).max) - 8
    return 2 / temperature + math.log(max(keys, 1)) < room


def mask_positives(tile: Tensor, i: slice, j: slice, value: float) -> None:
    """Fill in the entries of a tile whose row number is their column number."""
    if i.start < j.stop and j.start < i.stop:
        tile.diagonal(i.start - j.start).fill_(value)


def _vanishing(exponents: Tensor, i: slice, j: slice) -> Tensor:
    """Their exponentials, none of them denormal: processors are very slow on those."""
    least = math.log(torch.finfo(exponents.dtype).tiny) + 7
    tile = exponents.clamp_(min=least).exp_()
    mask_positives(tile, i, j, 0.0)
    return tile


def sweep(
    weights: Tensor | None,
    p: Tensor,
    q: Tensor,
    temperature: float,
    chunk_size: int,
    need_p: bool,
    need_q: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The rows, and the gradients of Σ weight_i · row_i, for unit rows p and q.

    With Z_i = Σ_{j≠i} e_ij, e_ij = exp((s_ij − s_ii)/τ), a row's value is log(1 + Z_i): exact near
    zero, where 1 would absorb the sum. Its gradient for p_i, Σ_j e_ij (q_j − q_i) / (τ (1 + Z_i)),
    needs no second look at e. That for q_j needs Z first: e is still there where all keys fit in
    one tile, and made anew where they do not.
    """
    n, m = p.size(0), q.size(0)
    # Anchors fewer than these would be slow: a product of thin matrices, and of few per key.
    height = min(chunk_size or max(BLOCK // max(m, 1), 128), max(n, 1), chunk_size or 1024)
    width = breadth(height, m)
    safe = bounded(temperature, m, p.dtype)
    own = row_products(p, q[:n]).div_(temperature)
    rows = p.new_empty(n)
    grad_p = empty_gradient(p, need_p)
    grad_q = torch.zeros_like(q) if need_q else q.new_empty(0)
    room, tiles = Tile(p, height, min(width, max(m, 1))), list(slices(m, width))

    def margins(scaled: Tensor, i: slice, j: slice) -> Tensor:
        """(s_ij − s_ii)/τ, −∞ at the positives."""
        tile = room.products(scaled, q[j]).sub_(own[i, None])
        mask_positives(tile, i, j, -torch.inf)
        return tile

    for i in slices(n, height):
        scaled = p[i] / temperature
        peak = total = torch.zeros_like(own[i])
        pulled = torch.zeros_like(scaled) if need_p else None
        for j in tiles:
            tile = margins(scaled, i, j)
            if not safe:
                rise = torch.maximum(peak, tile.amax(dim=1))
                shrink = (peak - rise).exp_()
                peak, total = rise, total * shrink
                if pulled is not None:
                    pulled.mul_(shrink[:, None])
                _vanishing(tile.sub_(peak[:, None]), i, j)
            else:
                tile.exp_()
            total = total + tile.sum(dim=1)
            if pulled is not None:
                pulled.addmm_(tile, q[j])
        rows[i] = total.log1p() if safe else peak + (total + (-peak).expm1()).log1p()
        pull = (total + (1.0 if safe else (-peak).exp())).mul_(temperature).reciprocal_()
        if weights is not None:
            pull *= weights[i]
        if pulled is not None:
            pulled.addcmul_(q[i], total[:, None], value=-1)
            torch.mul(pulled, pull[:, None], out=grad_p[i])
        if need_q:
            pushed = p[i] * pull[:, None]
            for j in tiles:
                if len(tiles) > 1:
                    tile = _vanishing(margins(scaled, i, j).sub_(peak[:, None]), i, j)
                grad_q[j].addmm_(tile.T, pushed)
            grad_q[i].addcmul_(pushed, total[:, None], value=-1)
    # A row that is its own only key has no margin in which a NaN would show.
    rows += own - own
    return rows, grad_p, grad_q


_infonce = fused("infonce", normalized(sweep), backend="chunked")
