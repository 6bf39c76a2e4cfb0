"""``F.cross_entropy(unit(p) @ unit(q).T / temperature, arange(N))`` without its N × M logits.

A program takes a block of anchors through all keys, with a running maximum. The backward operator
recomputes the tiles twice: by anchors for the gradient of p, and by keys for the gradient of q.
"""

import torch
import triton
from torch import Tensor

from graphkd.ops._autograd import primitive
from graphkd.ops.triton._common import (
    dot_mode,
    gradient_for,
    in_memory,
    launching,
    product_blocks,
    row_products,
)
from graphkd.ops.triton.kernels import infonce as kernels
from graphkd.similarity import unit_rows


def infonce(
    p: Tensor,
    q: Tensor,
    more: Tensor,
    drawn: Tensor | None,
    temperature: float | Tensor,
    precision: str,
) -> Tensor:
    """−log softmax_j(cos(p_i, k_j) / temperature) at j = i, over the keys k: q, and more.

    Of q, only the rows with the numbers ``drawn`` are negatives, if it is given. A row's sum over
    them is scaled to the number of all other rows.
    """
    p, temperature = _anchors(p, temperature)
    return _infonce(p, unit_rows(q), unit_rows(more), drawn, temperature, precision)


def symmetric_infonce(
    p: Tensor,
    q: Tensor,
    more: Tensor,
    drawn: Tensor | None,
    temperature: float | Tensor,
    precision: str,
) -> Tensor:
    """The mean of ``infonce(p, q)`` and ``infonce(q, p)``, the second without further keys."""
    (p, temperature), q, more = _anchors(p, temperature), unit_rows(q), unit_rows(more)
    there = _infonce(p, q, more, drawn, temperature, precision)
    return (there + _infonce(q, p, more[:0], drawn, temperature, precision)) / 2


def _anchors(p: Tensor, temperature: float | Tensor) -> tuple[Tensor, float]:
    """The unit anchors, which a temperature that may learn divides, and what still divides them.

    The products are then the logits, so that the anchors' gradient gives the temperature's.
    """
    if isinstance(temperature, Tensor):
        return unit_rows(p) / temperature, 1.0
    return unit_rows(p), temperature


def _keys(q: Tensor, more: Tensor, drawn: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """All keys; the number of each anchor's own key, or −1; and the log of its keys' factor."""
    n = q.size(0)
    lift, itself = q.new_zeros(n), torch.arange(n, device=q.device)
    if drawn is not None:
        numbers, itself = itself[: drawn.numel()], drawn.new_full((n,), -1)
        itself[drawn] = numbers
        lift = ((n - 1) / (drawn.numel() - (itself >= 0).to(q.dtype))).log_()
        q = q.index_select(0, drawn)
    return torch.cat([q, more]) if more.size(0) else q, itself, lift


def _forward(
    p: Tensor, q: Tensor, more: Tensor, drawn: Tensor | None, temperature: float, precision: str
) -> Tensor:
    p, q = in_memory(p), in_memory(q)
    n, width = p.shape
    peak, total = p.new_empty(n), p.new_empty(n)
    if n == 0:
        return peak
    blocks = product_blocks(width, p.dtype)
    with launching(p):
        keys, itself, lift = _keys(q, more, drawn)
        # Every margin of a row uses the row's own product, which is exact in every precision.
        own, inverse = row_products(p, q), p.new_full((), 1 / temperature)
        kernels.forward[(triton.cdiv(n, blocks.rows),)](
            p,
            keys,
            own,
            itself,
            lift,
            inverse,
            peak,
            total,
            n,
            keys.size(0),
            keys.size(0) - more.size(0),
            width,
            block_rows=blocks.rows,
            block_columns=blocks.columns,
            block_inner=blocks.inner,
            mode=dot_mode(precision, p.dtype),
            num_warps=blocks.warps,
        )
        # log(e^0 + Σ e^margin), exact near zero, where 1 would absorb the sum.
        values = peak + torch.log1p(total + torch.expm1(-peak))
        # A row that is its own only key has no margin: a NaN in it shows only here.
        return values + (own - own)


def _backward(
    grad: Tensor,
    values: Tensor,
    p: Tensor,
    q: Tensor,
    more: Tensor,
    drawn: Tensor | None,
    temperature: float,
    precision: str,
    need_p: bool,
    need_q: bool,
) -> tuple[Tensor, Tensor]:
    p, q, values = (in_memory(x) for x in (p, q, values))
    grad_p, grad_q = gradient_for(p, need_p), gradient_for(q, need_q)
    if p.size(0) == 0:
        return grad_p, grad_q
    with launching(p):
        scaled = grad.contiguous() / temperature
        keys, *of_anchors = _keys(q, more, drawn)
        few = keys.size(0) - more.size(0)
        vectors = row_products(p, q), *of_anchors, values, scaled, p.new_full((), 1 / temperature)
        mode = dot_mode(precision, p.dtype)
        if need_p:
            _gradient(grad_p, p, keys, q, vectors, few, mode, anchors=True)
        if need_q:
            # Minus the sum of an anchor's weights, Σ e^margin / (1 + Σ e^margin), exactly.
            positive = (scaled * torch.expm1(-values))[:, None]
            if drawn is None:
                _gradient(grad_q, keys[:few], p, q, vectors, few, mode, anchors=False)
                grad_q.addcmul_(p, positive)
            else:
                grad_keys = torch.empty_like(keys[:few])
                _gradient(grad_keys, keys[:few], p, q, vectors, few, mode, anchors=False)
                torch.mul(p, positive, out=grad_q).index_add_(0, drawn, grad_keys)
    return grad_p, grad_q


def _gradient(
    out: Tensor,
    x: Tensor,
    y: Tensor,
    q: Tensor,
    vectors: tuple[Tensor, ...],
    lifted: int,
    mode: str,
    *,
    anchors: bool,
) -> None:
    n, width = x.shape
    blocks = product_blocks(width, x.dtype)
    kernels.backward[(triton.cdiv(n, blocks.rows), triton.cdiv(width, blocks.output))](
        x,
        y,
        q,
        *vectors,
        out,
        n,
        y.size(0),
        lifted,
        width,
        block_rows=blocks.rows,
        block_columns=blocks.columns,
        block_inner=blocks.inner,
        block_output=blocks.output,
        mode=mode,
        anchors=anchors,
        num_warps=blocks.warps,
    )


_infonce = primitive(
    "triton_infonce",
    _forward,
    _backward,
    backend="Triton",
    fake=lambda p, *rest: p.new_empty(p.size(0)),
)
