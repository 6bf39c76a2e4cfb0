"""``logsumexp(p @ q.T / temperature)`` tile by tile, and its gradient."""

import triton
import triton.language as tl

from graphkd.ops.triton.kernels.tiles import add_product, inner_products, load_tile


@triton.jit
def forward(
    p,
    q,
    own,
    itself,
    lift,
    inverse,
    peak,
    total,
    n,
    m,
    lifted,
    width,
    block_rows: tl.constexpr,
    block_columns: tl.constexpr,
    block_inner: tl.constexpr,
    mode: tl.constexpr,
):
    """peak_i = max(0, max_j margin_ij) and total_i = Σ_j exp(margin_ij − peak_i), j ≠ itself_i.

    The margins of the first ``lifted`` keys are raised by ``lift``, of their anchor.
    """
    rows = tl.program_id(0) * block_rows + tl.arange(0, block_rows)
    positive = tl.load(own + rows, mask=rows < n, other=0.0)
    skipped = tl.load(itself + rows, mask=rows < n, other=-1)
    raised = tl.load(lift + rows, mask=rows < n, other=0.0)
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
        margins += tl.where(columns[None, :] < lifted, raised[:, None], 0.0)
        negative = (skipped[:, None] != columns[None, :]) & (columns[None, :] < m)
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
    q,
    own,
    itself,
    lift,
    values,
    scaled,
    inverse,
    out,
    n,
    m,
    lifted,
    width,
    block_rows: tl.constexpr,
    block_columns: tl.constexpr,
    block_inner: tl.constexpr,
    block_output: tl.constexpr,
    mode: tl.constexpr,
    anchors: tl.constexpr,
):
    """out_i = Σ_j w_ij y_j, where x are the anchors and y the keys, or the other way round.

    w = exp(margin − value) · grad / temperature for every pair that is not positive. An anchor's
    positive q_i has minus the sum of its other weights; only the anchors' gradient takes it here.
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
            key = columns[None, :]
            anchor_count = n
        else:
            anchor = columns[None, :]
            key = rows[:, None]
            anchor_count = m
        inside = anchor < anchor_count
        margins = (products - tl.load(own + anchor, mask=inside, other=0.0)) * scale
        margins += tl.where(key < lifted, tl.load(lift + anchor, mask=inside, other=0.0), 0.0)
        weights = tl.exp(margins - tl.load(values + anchor, mask=inside, other=0.0))
        weights = weights * tl.load(scaled + anchor, mask=inside, other=0.0)
        negative = tl.load(itself + anchor, mask=inside, other=-1) != key
        negative = negative & (columns[None, :] < m)
        weights = tl.where(negative, weights, 0.0)
        weight_sum += tl.sum(weights, axis=1)
        others = load_tile(y, columns[:, None], output[None, :], m, width)
        gradient = add_product(gradient, weights, others, mode)
    if anchors:
        # The positive stays out of the product, because low precision would blur it. An anchor's
        # own computed sum keeps the sum of all its weights at zero.
        positives = load_tile(q, rows[:, None], output[None, :], n, width)
        gradient -= weight_sum[:, None] * positives
    place = out + rows[:, None].to(tl.int64) * width + output[None, :]
    tl.store(place, gradient, mask=(rows[:, None] < n) & (output[None, :] < width))
