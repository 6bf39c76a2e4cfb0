"""``(kernel(s, s) - kernel(t, t)).square().sum(dim=1)`` tile by tile, and its gradient."""

import triton
import triton.language as tl

from graphkd.ops.triton.kernels.tiles import (
    add_product,
    inner_products,
    load_tile,
    squared_distances,
)


@triton.jit
def _statistic(
    x,
    own,
    rows,
    columns,
    n,
    width,
    block_rows: tl.constexpr,
    block_columns: tl.constexpr,
    block_inner: tl.constexpr,
    dot: tl.constexpr,
    mode: tl.constexpr,
):
    """A tile of inner products by rows, or of squared distances by columns.

    With rows last, the sum over j of differences stays within a thread.
    """
    if dot:
        tile = inner_products(
            x, rows, n, x, columns, n, width, block_rows, block_columns, block_inner, mode
        )
        if mode != "ieee":
            # A row with itself: with unit rows both sides give 1, but low precision does not.
            square = tl.load(own + rows, mask=rows < n, other=0.0)
            tile = tl.where(rows[:, None] == columns[None, :], square[:, None], tile)
    else:
        tile = squared_distances(x, columns, rows, n, width, block_columns, block_rows, block_inner)
    return tile


@triton.jit
def _places(rows, columns, dot: tl.constexpr):
    """The i and j of a tile, for broadcasting."""
    if dot:
        i = rows[:, None]
        j = columns[None, :]
    else:
        i = rows[None, :]
        j = columns[:, None]
    return i, j


@triton.jit
def _value(statistic, gamma, kernel: tl.constexpr):
    """``Kernel.value``, in Triton's language."""
    if kernel == "poly":
        value = statistic * statistic
    elif kernel == "l2":
        value = tl.sqrt(statistic)
    elif kernel == "rbf":
        value = tl.exp(-gamma * statistic)
    else:
        value = statistic
    return value


@triton.jit
def _times_slope(weights, statistic, gamma, kernel: tl.constexpr):
    """The weights times ``Kernel.slope``."""
    if kernel == "poly":
        weights = weights * 2 * statistic
    elif kernel == "l2":
        # Zero is a subgradient where two rows are equal, or nearer than their root can tell.
        root = tl.sqrt(statistic)
        weights = tl.where(root == 0, 0.0, weights * 0.5 / tl.where(root == 0, 1.0, root))
    elif kernel == "rbf":
        weights = -weights * gamma * tl.exp(-gamma * statistic)
    return weights


@triton.jit
def forward(
    x_s,
    x_t,
    own_s,
    own_t,
    gamma_s,
    gamma_t,
    sums,
    n,
    width_s,
    width_t,
    block_rows: tl.constexpr,
    block_columns: tl.constexpr,
    block_inner: tl.constexpr,
    kernel: tl.constexpr,
    dot: tl.constexpr,
    mode: tl.constexpr,
):
    """sums_i = Σ_j (k(s_i, s_j) − k(t_i, t_j))²."""
    rows = tl.program_id(0) * block_rows + tl.arange(0, block_rows)
    g_s = tl.load(gamma_s)
    g_t = tl.load(gamma_t)
    total = tl.zeros((block_rows,), dtype=x_s.dtype.element_ty)
    for start in range(0, n, block_columns):
        columns = start + tl.arange(0, block_columns)
        student = _statistic(
            x_s,
            own_s,
            rows,
            columns,
            n,
            width_s,
            block_rows,
            block_columns,
            block_inner,
            dot,
            mode,
        )
        teacher = _statistic(
            x_t,
            own_t,
            rows,
            columns,
            n,
            width_t,
            block_rows,
            block_columns,
            block_inner,
            dot,
            mode,
        )
        gap = _value(student, g_s, kernel) - _value(teacher, g_t, kernel)
        _, j = _places(rows, columns, dot)
        total += tl.sum(tl.where(j < n, gap * gap, 0.0), axis=1 if dot else 0)
    tl.store(sums + rows, total, mask=rows < n)


@triton.jit
def backward(
    x,
    y,
    own,
    own_y,
    gamma,
    gamma_y,
    grad,
    out,
    n,
    width,
    width_y,
    block_rows: tl.constexpr,
    block_columns: tl.constexpr,
    block_inner: tl.constexpr,
    block_output: tl.constexpr,
    kernel: tl.constexpr,
    dot: tl.constexpr,
    mode: tl.constexpr,
):
    """out_i = Σ_j w_ij x_j for inner products, or 2 Σ_j w_ij (x_i − x_j) for squared distances.

    w_ij = gap_ij · (grad_i + grad_j) · slope_ij, because a pair counts in row i and in row j.
    ``grad`` comes multiplied by 2/N.
    """
    rows = tl.program_id(0) * block_rows + tl.arange(0, block_rows)
    output = tl.program_id(1) * block_output + tl.arange(0, block_output)
    g_x = tl.load(gamma)
    g_y = tl.load(gamma_y)
    gradient = tl.zeros((block_rows, block_output), dtype=x.dtype.element_ty)
    ours = load_tile(x, rows[:, None], output[None, :], n, width)
    for start in range(0, n, block_columns):
        columns = start + tl.arange(0, block_columns)
        i, j = _places(rows, columns, dot)
        statistic = _statistic(
            x, own, rows, columns, n, width, block_rows, block_columns, block_inner, dot, mode
        )
        others = _statistic(
            y, own_y, rows, columns, n, width_y, block_rows, block_columns, block_inner, dot, mode
        )
        weights = _value(statistic, g_x, kernel) - _value(others, g_y, kernel)
        grad_i = tl.load(grad + i, mask=i < n, other=0.0)
        grad_j = tl.load(grad + j, mask=j < n, other=0.0)
        weights = weights * (grad_i + grad_j)
        weights = _times_slope(weights, statistic, g_x, kernel)
        weights = tl.where((i < n) & (j < n), weights, 0.0)
        theirs = load_tile(x, columns[:, None], output[None, :], n, width)
        if dot:
            gradient = add_product(gradient, weights, theirs, mode)
        else:
            apart = ours[None, :, :] - theirs[:, None, :]
            gradient += tl.sum(2 * weights[:, :, None] * apart, axis=0)
    place = out + rows[:, None].to(tl.int64) * width + output[None, :]
    tl.store(place, gradient, mask=(rows[:, None] < n) & (output[None, :] < width))
