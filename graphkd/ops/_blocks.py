"""How the primitives cut rows and pairs into blocks, and what they do with one."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

# On a CPU, a block of products holds at most this many numbers: 16 MiB in float32.
BLOCK = 2**22
# A few buffers of so many numbers fit in a core's cache.
CACHED = 2**16
# On a GPU, a block holds one number for so many bytes of its memory: 64 MiB in float32 of 80 GB.
_BYTES_OF_MEMORY = 4096


def numbers(device: torch.device, cached: int = BLOCK) -> int:
    """How many numbers a block holds: ``cached`` on a CPU, and on a GPU what gives it work.

    A CPU's blocks stay in its cache. Blocks of that size would leave a GPU waiting for launches.
    The size depends on the GPU's whole memory, not on what is free, so that results repeat.
    """
    if device.type != "cuda":
        return cached
    memory = torch.cuda.get_device_properties(device).total_memory
    return max(BLOCK, 1 << (memory // _BYTES_OF_MEMORY).bit_length() - 1)


def side(device: torch.device, cached: int) -> int:
    """The side of a square block."""
    return cached if device.type != "cuda" else math.isqrt(numbers(device))


def height(x: Tensor, cached: int) -> int:
    """How many rows of ``x`` make a block."""
    return numbers(x.device, cached * max(x.size(1), 1)) // max(x.size(1), 1)


def slices(count: int, size: int) -> Iterator[slice]:
    """Blocks of ``size`` that cover ``range(count)``."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def cached_rows(width: int) -> int:
    """How many rows of this width make a block that stays in a core's cache."""
    return max(CACHED // max(width, 1), 1)


def breadth(height: int, count: int, most: int = BLOCK) -> int:
    """How many of ``count`` columns go with ``height`` rows: all up to 1.5 blocks of ``most``."""
    size = max(most // max(height, 1), 1)
    return max(count, 1) if count < 1.5 * size else size


class Tile:
    """Room for one tile of products at a time, so that memory never holds two."""

    def __init__(self, like: Tensor, height: int, width: int) -> None:
        self._room = like.new_empty(height * width)

    def products(self, x: Tensor, y: Tensor) -> Tensor:
        """⟨x_i, y_j⟩, written over the previous tile."""
        shape = x.size(0), y.size(0)
        return torch.mm(x, y.T, out=self._room[: shape[0] * shape[1]].view(shape))


def row_products(x: Tensor, y: Tensor) -> Tensor:
    """⟨x_i, y_i⟩ for every row, without a product of all entries at once."""
    if x.size(0) <= 1024:
        products: Tensor = torch.linalg.vecdot(x, y)
        return products
    result = x.new_empty(x.size(0))
    for rows in slices(x.size(0), 1024):
        result[rows] = torch.linalg.vecdot(x[rows], y[rows])
    return result
