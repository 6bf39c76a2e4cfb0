"""Tiles of ``x @ y.T`` and of ``torch.cdist(x, x).square()``, which never become whole matrices."""

import triton
import triton.language as tl


@triton.jit
def load_tile(x, rows, columns, count, width):
    """x[rows, columns] by broadcasting, zero outside of ``[count, width]``."""
    inside = (rows < count) & (columns < width)
    # Rows times width may exceed 32 bits.
    return tl.load(x + rows.to(tl.int64) * width + columns, mask=inside, other=0.0)


@triton.jit
def _bfloat16_value(x):
    """A float32 rounded to the nearest bfloat16, half to even, as float32."""
    bits = x.to(tl.int32, bitcast=True)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & -0x10000
    return bits.to(tl.float32, bitcast=True)


@triton.jit
def add_product(total, a, b, mode: tl.constexpr):
    """Total + a @ b, with the total in float32, or in float64 if a and b are."""
    if mode == "bf16":
        total = tl.dot(a.to(tl.bfloat16), b.to(tl.bfloat16), total)
    elif mode == "bf16_emulated":
        total = tl.dot(_bfloat16_value(a), _bfloat16_value(b), total, input_precision="ieee")
    else:
        total = tl.dot(a, b, total, input_precision=mode, out_dtype=total.dtype)
    return total


@triton.jit
def inner_products(
    x,
    rows,
    row_count,
    y,
    columns,
    column_count,
    width,
    block_rows: tl.constexpr,
    block_columns: tl.constexpr,
    block_inner: tl.constexpr,
    mode: tl.constexpr,
):
    """The tile ⟨x_i, y_j⟩, zero outside."""
    tile = tl.zeros((block_rows, block_columns), dtype=x.dtype.element_ty)
    for start in range(0, width, block_inner):
        inner = start + tl.arange(0, block_inner)
        a = load_tile(x, rows[:, None], inner[None, :], row_count, width)
        b = load_tile(y, columns[None, :], inner[:, None], column_count, width)
        tile = add_product(tile, a, b, mode)
    return tile


@triton.jit
def squared_distances(
    x,
    rows,
    columns,
    count,
    width,
    block_rows: tl.constexpr,
    block_columns: tl.constexpr,
    block_inner: tl.constexpr,
):
    """The tile ‖x_i − x_j‖² by direct differences, which lose no digits far from the origin."""
    tile = tl.zeros((block_rows, block_columns), dtype=x.dtype.element_ty)
    for start in range(0, width, block_inner):
        inner = start + tl.arange(0, block_inner)
        a = load_tile(x, rows[None, :], inner[:, None], count, width)
        b = load_tile(x, columns[None, :], inner[:, None], count, width)
        # The width comes first, so that a thread sums its own numbers, with no exchange.
        apart = a[:, :, None] - b[:, None, :]
        tile += tl.sum(apart * apart, axis=0)
    return tile


@triton.jit
def row_products(x, y, out, n, width, block_rows: tl.constexpr, block_inner: tl.constexpr):
    """out_i = ⟨x_i, y_i⟩."""
    rows = tl.program_id(0) * block_rows + tl.arange(0, block_rows)
    total = tl.zeros((block_rows, block_inner), dtype=x.dtype.element_ty)
    for start in range(0, width, block_inner):
        inner = (start + tl.arange(0, block_inner))[None, :]
        a = load_tile(x, rows[:, None], inner, n, width)
        b = load_tile(y, rows[:, None], inner, n, width)
        total += a * b
    tl.store(out + rows, tl.sum(total, axis=1), mask=rows < n)
