"""``logsumexp(p @ q.T / temperature)`` tile by tile, and its gradient."""

import triton
import triton.language as tl

from graphkd.ops.triton.kernels.tiles import add_product, inner_products, load_tile


@triton.jit
def forward(
    p,
    q,
    own,
    inverse,
    peak,
    total,
    n,
    m,
    width,
    block_rows: tl.constexpr,
    block_columns: tl.constexpr,
    block_inner: tl.constexpr,
    mode: tl.constexpr,
):
    """peak_i = max(0, max_{j≠i} margin_ij) and total_i = Σ_{j≠i} exp(margin_ij − peak_i)."""
    rows = tl.program_id(0) * block_rows + tl.arange(0, block_rows)
    positive = tl.load(own + rows, mask=rows < n, other=0.0)
    scale = tl.load(inverse)
    # The positive's own margin is 0, so that the maximum is finite from the start.
    highest = tl.zeros((block_rows,), dtype=p.dtype.element_ty)
    mass = tl.zeros((block_rows,), dtype=p.dtype.element_ty)
    for start in range(0, m, block_columns):
        columns = start + tl.arange(0, block_columns)
        margins = inner_products(
            p, rows, n, q, columns, m, width, block_rows, block_columns, block_inner, mode
        )
        margins = (margins - positive[:, None]) * scale
        negative = (rows[:, None] != columns[None, :]) & (columns[None, :] < m)
        margins = tl.where(negative, margins, float("-inf"))
        higher = tl.maximum(highest, tl.max(margins, axis=1))
        mass = mass * tl.exp(highest - higher) + tl.sum(tl.exp(margins - higher[:, None]), axis=1)
        highest = higher
    tl.store(peak + rows, highest, mask=rows < n)
    tl.store(total + rows, mass, mask=rows < n)


@triton.jit
def backward(
    x,
    y,
    own,
    values,
    scaled,
    positive,
    inverse,
    out,
    n,
    m,
    width,
    block_rows: tl.constexpr,
    block_columns: tl.constexpr,
    block_inner: tl.constexpr,
    block_output: tl.constexpr,
    mode: tl.constexpr,
    anchors: tl.constexpr,
):
    """out_i = Σ_j w_ij y_j, where x are the anchors and y the keys, or the other way round.

    w = exp(margin − value) · grad / temperature for every pair that is not positive. A positive's
    weight is minus the sum of its anchor's other weights.
    """
    rows = tl.program_id(0) * block_rows + tl.arange(0, block_rows)
    output = tl.program_id(1) * block_output + tl.arange(0, block_output)
    scale = tl.load(inverse)
    gradient = tl.zeros((block_rows, block_output), dtype=x.dtype.element_ty)
    weight_sum = tl.zeros((block_rows,), dtype=x.dtype.element_ty)
    for start in range(0, m, block_columns):
        columns = start + tl.arange(0, block_columns)
        products = inner_products(
            x, rows, n, y, columns, m, width, block_rows, block_columns, block_inner, mode
        )
        if anchors:
            anchor = rows[:, None]
            anchor_count = n
        else:
            anchor = columns[None, :]
            anchor_count = m
        inside = anchor < anchor_count
        margins = (products - tl.load(own + anchor, mask=inside, other=0.0)) * scale
        weights = tl.exp(margins - tl.load(values + anchor, mask=inside, other=0.0))
        weights = weights * tl.load(scaled + anchor, mask=inside, other=0.0)
        negative = (rows[:, None] != columns[None, :]) & (columns[None, :] < m)
        weights = tl.where(negative, weights, 0.0)
        weight_sum += tl.sum(weights, axis=1)
        others = load_tile(y, columns[:, None], output[None, :], m, width)
        gradient = add_product(gradient, weights, others, mode)
    # The positive stays out of the product, because low precision would blur it. An anchor's own
    # computed sum keeps the sum of all its weights at zero.
    weight = -weight_sum if anchors else tl.load(positive + rows, mask=rows < m, other=0.0)
    gradient += weight[:, None] * load_tile(y, rows[:, None], output[None, :], m, width)
    place = out + rows[:, None].to(tl.int64) * width + output[None, :]
    tl.store(place, gradient, mask=(rows[:, None] < n) & (output[None, :] < width))
