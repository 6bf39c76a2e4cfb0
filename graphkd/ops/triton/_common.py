"""What every launch needs: block sizes, the arithmetic of inner products, and the device.

Block sizes depend only on the width and the dtype. They are never tuned at run time, so that a
result does not depend on the run.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from graphkd._precision import full_precision
from graphkd.ops.triton.kernels import tiles


class Blocks(NamedTuple):
    """The sizes of one program's work, all of them powers of two."""

    rows: int
    """Rows that the program owns."""
    columns: int
    """Rows of the other side that one step of its loop takes."""
    inner: int
    """How much of the width one step of a tile takes; at least 16, for tensor cores."""
    output: int
    """How much of the width of a gradient the program owns."""
    warps: int


# The type that triton.jit gives a function tells for certain whether kernels are interpreted.
INTERPRETED: bool = not isinstance(tiles.row_products, triton.JITFunction)
# An older compiler has no such products, for no GPU.
MULTIPLIES_FLOAT64 = tuple(map(int, triton.__version__.split(".")[:2])) >= (3, 5)


def in_memory(x: Tensor) -> Tensor:
    """The tensor as a program reads it: its numbers in a row, none of them negated by a flag."""
    return x.resolve_neg().contiguous()


def dot_mode(precision: str, dtype: torch.dtype) -> str:
    """How ``add_product`` multiplies: ``precision`` names the operands' type for float32 inputs."""
    if dtype == torch.float64 and not MULTIPLIES_FLOAT64:
        raise ValueError(
            "backend='triton' multiplies float64 from triton 3.5 on; got triton "
            f"{triton.__version__}. Use backend='chunked', float32, or a newer torch and triton."
        )
    if precision == "float32" or dtype == torch.float64:
        return "ieee"
    # The interpreter's own bfloat16 truncates, and its products are wrong.
    return "bf16_emulated" if precision == "bf16" and INTERPRETED else precision


def product_blocks(width: int, dtype: torch.dtype) -> Blocks:
    """Blocks for tiles of inner products."""
    if INTERPRETED:
        return Blocks(64, 64, between(16, width, 256), between(16, width, 256), 4)
    if dtype == torch.float64:
        return Blocks(32, 32, 16, between(16, width, 64), 4)
    return Blocks(64, 64, between(16, width, 32), between(16, width, 128), 8)


def difference_blocks(width: int, dtype: torch.dtype) -> Blocks:
    """Blocks for tiles of squared distances."""
    if INTERPRETED:
        return Blocks(16, 16, between(16, width, 64), between(16, width, 64), 4)
    return Blocks(32, 16, 16, between(16, width, 64), 8)


def edge_blocks(width: int) -> Blocks:
    """Blocks of edges: as rows forward; as columns backward, where most nodes have few edges."""
    if INTERPRETED:
        return Blocks(256, 64, between(16, width, 256), between(16, width, 1024), 4)
    inner = between(16, width, 64)
    return Blocks(16, 16, inner, between(16, width, 128), inner // 16)


def between(least: int, width: int, most: int) -> int:
    """The power of two that covers the width, within bounds."""
    covering: int = triton.next_power_of_2(width)
    return min(max(covering, least), most)


def row_products(x: Tensor, y: Tensor) -> Tensor:
    """⟨x_i, y_i⟩ for every row of ``x``, in full precision."""
    n, width = x.shape
    blocks, out = product_blocks(width, x.dtype), x.new_empty(n)
    tiles.row_products[(triton.cdiv(n, blocks.rows),)](
        x, y, out, n, width, block_rows=blocks.rows, block_inner=blocks.inner
    )
    return out


def gradient_for(x: Tensor, needed: bool) -> Tensor:
    """Room for the gradient of ``x``, contiguous whatever ``x`` is; empty if not needed."""
    return x.new_empty(x.shape if needed else 0)


@contextmanager
def launching(x: Tensor) -> Iterator[None]:
    """Switch autocast off, and launch on the device of ``x``, which may not be the current one."""
    with full_precision(x.device):
        if x.is_cuda:
            with torch.cuda.device(x.device):
                yield
        else:
            yield
