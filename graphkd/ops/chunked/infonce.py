"""G-CRD's row values, a block of anchors against all keys at a time, with the gradients.

Replaces ``F.cross_entropy(unit(p) @ unit(q).T / temperature, arange, reduction="none")``.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from graphkd._powers import exp_
from graphkd.ops._autograd import empty_gradient, fused
from graphkd.ops._blocks import BLOCK, Tile, breadth, numbers, row_products, slices
from graphkd.similarity import unit_and_inverse, unit_gradient_, unit_rows

# Where a tile holds positives: its anchors and keys, if both count the same rows; or each anchor's
# column, which may lie outside of the tile. None for a tile without.
Pairs: TypeAlias = tuple[slice, slice] | Tensor | None
# A temperature at which sums need a running maximum, in every dtype.
_COLD = 2.0**-10


def infonce(
    p: Tensor,
    q: Tensor,
    more: Tensor,
    drawn: Tensor | None,
    temperature: float | Tensor,
    chunk_size: int | None,
    weight: Tensor | None = None,
) -> Tensor:
    """−log softmax_j(cos(p_i, k_j) / temperature) at j = i, for every row i and all keys k.

    Args:
        p: Anchors.
        q: Keys, the anchors' positives.
        more: Further keys, negatives of all anchors, which get no gradient.
        drawn: The numbers of the rows of q that are negatives; None: all of them.
        temperature: The temperature; a tensor may learn.
        chunk_size: How many anchors make a block.
        weight: How much each row will count in the value; None: all the same.
    """
    if isinstance(temperature, Tensor):
        args = *divided(p, q, more, temperature), drawn, temperature, chunk_size or 0
        return _learned(*args, expected=weight)
    return _infonce(p, q, more, drawn, temperature, chunk_size or 0, expected=weight)


def divided(p: Tensor, q: Tensor, more: Tensor, temperature: Tensor) -> tuple[Tensor, ...]:
    """Unit anchors over a temperature that may learn, and unit keys.

    The products are the logits, so that the gradient for the anchors gives the temperature's.
    """
    return unit_rows(p) / temperature, unit_rows(q), unit_rows(more)


def normalized(sweep: Callable[..., Any]) -> Callable[..., Any]:
    """Turn a sweep over unit rows into one over any rows, with the gradients for these."""

    def of_any_rows(
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
        (unit_p, inverse_p), (unit_q, inverse_q) = unit_and_inverse(p), unit_and_inverse(q)
        rest = unit_and_inverse(more)[0], drawn, temperature, chunk_size, need_p, need_q
        rows, grad_p, grad_q = sweep(weights, unit_p, unit_q, *rest)
        if need_p:
            unit_gradient_(grad_p, unit_p, inverse_p)
        if need_q:
            unit_gradient_(grad_q, unit_q, inverse_q)
        return rows, grad_p, grad_q

    return of_any_rows


def learned(sweep: Callable[..., Any]) -> Callable[..., Any]:
    """Turn a sweep over unit rows into one over anchors that the temperature divides already.

    The temperature only says whether sums need a running maximum. A GPU's is not looked at: a step
    would wait for it.
    """

    def of_divided_rows(
        weights: Tensor | None,
        p: Tensor,
        q: Tensor,
        more: Tensor,
        drawn: Tensor | None,
        temperature: Tensor,
        chunk_size: int,
        need_p: bool,
        need_q: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        known = float(temperature) if p.device.type == "cpu" else _COLD
        # The power of two below it: multiplication and division then round nothing.
        known = math.ldexp(0.5, math.frexp(known)[1])
        rest = drawn, known, chunk_size, need_p, need_q
        rows, grad_p, grad_q = sweep(weights, p * known, q, more, *rest)
        return rows, grad_p.mul_(known), grad_q

    return of_divided_rows


def bounded(temperature: float, keys: int, dtype: torch.dtype) -> bool:
    """Whether Σ exp((s_ij − s_ii)/τ) cannot overflow, so that no running maximum is needed."""
    room = math.log(torch.finfo(dtype).max) - 8
    return 2 / temperature + math.log(max(keys, 1)) < room


def mask_positives(tile: Tensor, at: Pairs, value: float) -> None:
    """Fill the entries of a tile that belong to an anchor and its own key."""
    if isinstance(at, Tensor):
        inside = ((at >= 0) & (at < tile.size(1)))[:, None]
        column = at[:, None].where(inside, 0)
        tile.scatter_(1, column, tile.gather(1, column).masked_fill_(inside, value))
    elif at is not None and at[0].start < at[1].stop and at[1].start < at[0].stop:
        tile.diagonal(at[0].start - at[1].start).fill_(value)


def _vanishing(exponents: Tensor, at: Pairs) -> Tensor:
    """The exponentials, none of them denormal: processors are very slow on denormal numbers."""
    least = math.log(torch.finfo(exponents.dtype).tiny) + 7
    tile = exp_(exponents.clamp_(min=least))
    mask_positives(tile, at, 0.0)
    return tile


def _margins(room: Tile, scaled: Tensor, shift: Tensor, keys: Tensor, at: Pairs) -> Tensor:
    """⟨p_i, q_j⟩/τ − shift_i, −∞ at the positives."""
    tile = room.products(scaled, keys).sub_(shift[:, None])
    mask_positives(tile, at, -torch.inf)
    return tile


def exponentials(room: Tile, scaled: Tensor, shift: Tensor, keys: Tensor, at: Pairs) -> Tensor:
    """exp(⟨p_i, q_j⟩/τ − shift_i), 0 at the positives."""
    return _vanishing(_margins(room, scaled, shift, keys, at), at)


class AnchorSums:
    """Σ_j e_ij and Σ_j e_ij q_j of a block of anchors, over the keys so far, times exp(−peak_i).

    Here e_ij = exp((s_ij − s_ii)/τ), and j ≠ i.

    Args:
        scaled: The unit anchors over the temperature.
        safe: Whether the sums need no running maximum, the peak.
        pulled: Whether the second sum is needed.
    """

    def __init__(self, scaled: Tensor, safe: bool, pulled: bool) -> None:
        self.scaled, self.safe = scaled, safe
        self.peak = self.total = scaled.new_zeros(scaled.size(0))
        self.pulled = torch.zeros_like(scaled) if pulled else None

    def add(self, room: Tile, shift: Tensor, keys: Tensor, at: Pairs) -> Tensor:
        """Add more keys to the sums; gives the tile of their exponentials.

        ``shift`` is s_ii/τ, less the log of the factor with which the keys count.
        """
        tile = _margins(room, self.scaled, shift, keys, at)
        if self.safe:
            exp_(tile)
        else:
            rise = torch.maximum(self.peak, tile.amax(dim=1))
            shrink = (self.peak - rise).exp_()
            self.peak, self.total = rise, self.total * shrink
            if self.pulled is not None:
                self.pulled.mul_(shrink[:, None])
            _vanishing(tile.sub_(self.peak[:, None]), at)
        self.total = self.total + tile.sum(dim=1)
        if self.pulled is not None:
            self.pulled.addmm_(tile, keys)
        return tile

    def rows(self) -> Tensor:
        """log(1 + Σ_j e_ij): exact near zero, where 1 would absorb the sum."""
        if self.safe:
            return self.total.log1p()
        return self.peak + (self.total + (-self.peak).expm1()).log1p()

    def pull(self, temperature: float) -> Tensor:
        """The factor of the sums in the gradients: exp(peak_i)/(τ (1 + Σ_j e_ij))."""
        one = 1.0 if self.safe else (-self.peak).exp()
        return (self.total + one).mul_(temperature).reciprocal_()

    def gradient(self, positives: Tensor, pull: Tensor, out: Tensor) -> None:
        """Write the gradient for the anchors, Σ_j e_ij (q_j − q_i) times ``pull``."""
        if self.pulled is not None:
            self.pulled.addcmul_(positives, self.total[:, None], value=-1)
            torch.mul(self.pulled, pull[:, None], out=out)


def tile_height(n: int, keys: int, chunk_size: int, most: int = BLOCK) -> int:
    """How many of ``n`` anchors make a tile of at most ``most`` numbers."""
    # Fewer anchors are slow: the product has thin matrices, and few anchors per key.
    least, limit = math.isqrt(most) // 16, math.isqrt(most) // 2
    return min(chunk_size or max(most // max(keys, 1), least), max(n, 1), chunk_size or limit)


class Drawn(NamedTuple):
    """A few keys that are negatives of all anchors, and stand for the positives of all of them."""

    keys: Tensor
    """The unit keys."""
    column: Tensor
    """Each anchor's own key among them; negative if it is not drawn."""
    total: int
    """How many anchors there are in all."""

    def lift(self) -> Tensor:
        """The log of the factor with which the keys count, for each anchor."""
        others = self.keys.size(0) - (self.column >= 0).to(self.keys.dtype)
        return ((self.total - 1) / others).log_()


def sweep(
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
    """The rows, and the gradients of Σ weight_i · row_i, for unit rows p and q."""
    rest = temperature, chunk_size, need_p, need_q
    if drawn is None:
        return sweep_keys(weights, p, q, more, None, *rest)[:3]
    column = drawn.new_full((p.size(0),), -1)
    column[drawn] = torch.arange(drawn.numel(), device=drawn.device)
    few = Drawn(q.index_select(0, drawn), column, p.size(0))
    rows, grad_p, grad_q, grad_keys = sweep_keys(weights, p, q, more, few, *rest)
    if need_q:
        grad_q.index_add_(0, drawn, grad_keys)
    return rows, grad_p, grad_q


def sweep_keys(
    weights: Tensor | None,
    p: Tensor,
    q: Tensor,
    more: Tensor,
    drawn: Drawn | None,
    temperature: float,
    chunk_size: int,
    need_p: bool,
    need_q: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The rows, and the gradients of Σ weight_i · row_i, for anchors, their positives, and keys.

    Without drawn keys, the positives are the keys, and have one gradient as both.

    With Z_i = Σ_{j≠i} e_ij, e_ij = exp((s_ij − s_ii)/τ), a row's value is log(1 + Z_i). Its
    gradient for p_i, Σ_j e_ij (q_j − q_i) / (τ (1 + Z_i)), needs no second look at e. The gradient
    for q_j needs Z first: e is still there if all keys fit in one tile, and computed again if not.
    """
    keys, total = (q, q.size(0)) if drawn is None else (drawn.keys, drawn.total)
    n, number, most = p.size(0), keys.size(0) + more.size(0), numbers(p.device)
    height = tile_height(n, number, chunk_size, most)
    width = breadth(height, number, most)
    safe = bounded(temperature, total + more.size(0), p.dtype)
    own = row_products(p, q).div_(temperature)
    shift = own if drawn is None else own - drawn.lift()
    rows = p.new_empty(n)
    grad_p = empty_gradient(p, need_p)
    grad_q = torch.zeros_like(q) if need_q else q.new_empty(0)
    grad_keys = grad_q if drawn is None or not need_q else torch.zeros_like(keys)
    room = Tile(p, height, min(width, max(number, 1)))
    further, tiles = list(slices(more.size(0), width)), list(slices(keys.size(0), width))
    for i in slices(n, height):
        sums = AnchorSums(p[i] / temperature, safe, need_p)
        for j in further:
            sums.add(room, own[i], more[j], None)
        places = [(i, j) if drawn is None else drawn.column[i] - j.start for j in tiles]
        for j, at in zip(tiles, places, strict=True):
            tile = sums.add(room, shift[i], keys[j], at)
        rows[i], pull = sums.rows(), sums.pull(temperature)
        if weights is not None:
            pull *= weights[i]
        if need_p:
            sums.gradient(q[i], pull, grad_p[i])
        if need_q:
            pushed = p[i] * pull[:, None]
            for j, at in zip(tiles, places, strict=True):
                if len(tiles) > 1:
                    tile = exponentials(room, sums.scaled, shift[i] + sums.peak, keys[j], at)
                grad_keys[j].addmm_(tile.T, pushed)
            grad_q[i].addcmul_(pushed, sums.total[:, None], value=-1)
    # A row that is its own only key has no margin: a NaN in it shows only here.
    rows += own - own
    return rows, grad_p, grad_q, grad_keys


_infonce = fused("infonce", normalized(sweep), backend="chunked")
_learned = fused("learned_infonce", learned(sweep), backend="chunked")
