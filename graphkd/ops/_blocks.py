"""How the primitives cut rows and pairs into blocks."""

from collections.abc import Iterator

import torch
from torch import Tensor

# A block holds at most this many numbers: 16 MiB in float32.
BLOCK = 2**22


def slices(count: int, size: int) -> Iterator[slice]:
    """The blocks of ``size`` of a range."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def breadth(height: int, count: int) -> int:
    """How many of ``count`` columns go with ``height`` rows: all, if that is little more."""
    size = max(BLOCK // max(height, 1), 1)
    return max(count, 1) if count < 1.5 * size else size


class Tile:
    """Room for one tile of products at a time, so that no two are held."""

    def __init__(self, like: Tensor, height: int, width: int) -> None:
        self._room = like.new_empty(height * width)

    def products(self, x: Tensor, y: Tensor) -> Tensor:
        """⟨x_i, y_j⟩, in the place of what was there."""
        shape = x.size(0), y.size(0)
        return torch.mm(x, y.T, out=self._room[: shape[0] * shape[1]].view(shape))


def row_products(x: Tensor, y: Tensor) -> Tensor:
    """⟨x_i, y_i⟩ for every row, without a product of all entries at once."""
    result = x.new_empty(x.size(0))
    for rows in slices(x.size(0), 1024):
        result[rows] = torch.linalg.vecdot(x[rows], y[rows])
    return result
