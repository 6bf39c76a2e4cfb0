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
    launching,
    product_blocks,
    row_products,
)
from graphkd.ops.triton.kernels import infonce as kernels
from graphkd.similarity import unit_rows


def infonce(p: Tensor, q: Tensor, more: Tensor, temperature: float, precision: str) -> Tensor:
    """−log softmax_j(cos(p_i, k_j) / temperature) at j = i, over the keys k: q, and more."""
    return _infonce(unit_rows(p), _keys(q, more), temperature, precision)


def symmetric_infonce(
    p: Tensor, q: Tensor, more: Tensor, temperature: float, precision: str
) -> Tensor:
    """The mean of ``infonce(p, q)`` and ``infonce(q, p)``, the second without further keys."""
    p, q = unit_rows(p), unit_rows(q)
    there = _infonce(p, _keys(q, more), temperature, precision)
    return (there + _infonce(q, p, temperature, precision)) / 2


def _keys(q: Tensor, more: Tensor) -> Tensor:
    """The unit rows of ``q``, then of ``more``."""
    return torch.cat([unit_rows(q), unit_rows(more)]) if more.size(0) else unit_rows(q)


def _forward(p: Tensor, q: Tensor, temperature: float, precision: str) -> Tensor:
    p, q = p.contiguous(), q.contiguous()
    n, width = p.shape
    peak, total = p.new_empty(n), p.new_empty(n)
    if n == 0:
        return peak
    blocks = product_blocks(width, p.dtype)
    with launching(p):
        # Every margin of a row uses the row's own product, which is exact in every precision.
        own, inverse = row_products(p, q), p.new_full((), 1 / temperature)
        kernels.forward[(triton.cdiv(n, blocks.rows),)](
            p,
            q,
            own,
            inverse,
            peak,
            total,
            n,
            q.size(0),
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
    temperature: float,
    precision: str,
    need_p: bool,
    need_q: bool,
) -> tuple[Tensor, Tensor]:
    p, q, values = p.contiguous(), q.contiguous(), values.contiguous()
    if p.size(0) == 0:
        return gradient_for(p, need_p), gradient_for(q, need_q).zero_()
    with launching(p):
        scaled = grad.contiguous() / temperature
        # Minus the sum of an anchor's weights, Σ_{j≠i} e^margin / (1 + Σ_{j≠i} e^margin), exactly.
        positive = scaled * torch.expm1(-values)
        vectors = row_products(p, q), values, scaled, positive, p.new_full((), 1 / temperature)
        mode = dot_mode(precision, p.dtype)
        return (
            _gradient(p, q, vectors, mode, need_p, anchors=True),
            _gradient(q, p, vectors, mode, need_q, anchors=False),
        )


def _gradient(
    x: Tensor, y: Tensor, vectors: tuple[Tensor, ...], mode: str, needed: bool, *, anchors: bool
) -> Tensor:
    out = gradient_for(x, needed)
    if not needed:
        return out
    n, width = x.shape
    blocks = product_blocks(width, x.dtype)
    kernels.backward[(triton.cdiv(n, blocks.rows), triton.cdiv(width, blocks.output))](
        x,
        y,
        *vectors,
        out,
        n,
        y.size(0),
        width,
        block_rows=blocks.rows,
        block_columns=blocks.columns,
        block_inner=blocks.inner,
        block_output=blocks.output,
        mode=mode,
        anchors=anchors,
        num_warps=blocks.warps,
    )
    return out


_infonce = primitive(
    "triton_infonce",
    _forward,
    _backward,
    backend="Triton",
    fake=lambda p, *rest: p.new_empty(p.size(0)),
)
