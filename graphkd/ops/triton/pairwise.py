"""``(kernel(x_s, x_s) - kernel(x_t, x_t)).square().mean(dim=1)`` without an N × N matrix.

A program takes a block of rows through all rows. The backward operator recomputes the tiles.
Squared distances are direct differences, and so are their gradients. Near pairs keep their digits
wherever the rows lie.
"""

from typing import NamedTuple

import torch
import triton
from torch import Tensor

from graphkd.ops._autograd import primitive
from graphkd.ops.triton._common import (
    Blocks,
    difference_blocks,
    dot_mode,
    gradient_for,
    in_memory,
    launching,
    product_blocks,
    row_products,
)
from graphkd.ops.triton.kernels import pairwise as kernels
from graphkd.similarity import KERNELS, Kernel, kernel_rows


def pairwise_gap(
    x_s: Tensor, x_t: Tensor, kernel: Kernel, gamma_s: Tensor, gamma_t: Tensor, precision: str
) -> Tensor:
    """The mean over j of (k(s_i, s_j) − k(t_i, t_j))², for every row i.

    ``precision`` applies to inner products; squared distances take no lower one than float32.
    """
    x_s, x_t = kernel_rows(kernel, x_s), kernel_rows(kernel, x_t)
    return _pairwise_gap(x_s, x_t, gamma_s, gamma_t, kernel.name, precision)


def _blocks(kernel: str, width: int, dtype: torch.dtype) -> Blocks:
    dot = KERNELS[kernel].statistic == "dot"
    return product_blocks(width, dtype) if dot else difference_blocks(width, dtype)


class _Rows(NamedTuple):
    """One side: its rows, their own products ⟨x_i, x_i⟩ if a program reads these, and gamma."""

    x: Tensor
    own: Tensor
    gamma: Tensor


def _rows(x: Tensor, gamma: Tensor, kernel: str, mode: str) -> _Rows:
    x = in_memory(x)
    low = mode != "ieee" and KERNELS[kernel].statistic == "dot" and len(x) > 0
    return _Rows(x, row_products(x, x) if low else x, gamma.to(x))


def _forward(
    x_s: Tensor, x_t: Tensor, gamma_s: Tensor, gamma_t: Tensor, kernel: str, precision: str
) -> Tensor:
    n, sums = x_s.size(0), x_s.new_empty(x_s.size(0))
    if n == 0:
        return sums
    blocks = _blocks(kernel, max(x_s.size(1), x_t.size(1)), x_s.dtype)
    mode = dot_mode(precision, x_s.dtype)
    with launching(x_s):
        s, t = _rows(x_s, gamma_s, kernel, mode), _rows(x_t, gamma_t, kernel, mode)
        kernels.forward[(triton.cdiv(n, blocks.rows),)](
            s.x,
            t.x,
            s.own,
            t.own,
            s.gamma,
            t.gamma,
            sums,
            n,
            x_s.size(1),
            x_t.size(1),
            block_rows=blocks.rows,
            block_columns=blocks.columns,
            block_inner=blocks.inner,
            kernel=kernel,
            dot=KERNELS[kernel].statistic == "dot",
            mode=mode,
            num_warps=blocks.warps,
        )
        return sums / n


def _backward(
    grad: Tensor,
    values: Tensor,
    x_s: Tensor,
    x_t: Tensor,
    gamma_s: Tensor,
    gamma_t: Tensor,
    kernel: str,
    precision: str,
    need_s: bool,
    need_t: bool,
) -> tuple[Tensor, Tensor]:
    mode = dot_mode(precision, x_s.dtype)
    with launching(x_s):
        s, t = _rows(x_s, gamma_s, kernel, mode), _rows(x_t, gamma_t, kernel, mode)
        scaled = grad.contiguous() * (2 / max(grad.size(0), 1))
        return (
            _gradient(s, t, scaled, kernel, mode, need_s),
            _gradient(t, s, scaled, kernel, mode, need_t),
        )


def _gradient(
    one: _Rows, other: _Rows, scaled: Tensor, kernel: str, mode: str, needed: bool
) -> Tensor:
    """The gradient for the rows of ``one``."""
    out = gradient_for(one.x, needed)
    if out.numel() == 0:
        return out
    n, width = one.x.shape
    blocks = _blocks(kernel, max(width, other.x.size(1)), one.x.dtype)
    kernels.backward[(triton.cdiv(n, blocks.rows), triton.cdiv(width, blocks.output))](
        one.x,
        other.x,
        one.own,
        other.own,
        one.gamma,
        other.gamma,
        scaled,
        out,
        n,
        width,
        other.x.size(1),
        block_rows=blocks.rows,
        block_columns=blocks.columns,
        block_inner=blocks.inner,
        block_output=blocks.output,
        kernel=kernel,
        dot=KERNELS[kernel].statistic == "dot",
        mode=mode,
        num_warps=blocks.warps,
    )
    return out


_pairwise_gap = primitive(
    "triton_pairwise_gap",
    _forward,
    _backward,
    backend="Triton",
    fake=lambda x_s, *rest: x_s.new_empty(x_s.size(0)),
)
