"""What the measures do to their inputs: matched rows of both sides, and unit rows, in blocks.

Nothing here copies a whole side but :func:`unit_side`, so that memory stays below a few inputs.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from graphkd._checks import check_pair
from graphkd._precision import exact
from graphkd.ops._blocks import numbers, slices
from graphkd.similarity import unit_rows

# A block of rows holds at most this many numbers on a CPU, 2 MiB in float64, to stay in its cache.
_BLOCK = 2**18


def matched_sides(measure: str, h_s: Tensor, h_t: Tensor, **how: Any) -> tuple[Tensor, Tensor]:
    """Both sides as they are, without a gradient, checked as :func:`check_pair` does.

    Widths and dtypes may differ.
    """
    check_pair(measure, h_s, h_t, **how)
    return h_s.detach(), h_t.detach()


def row_blocks(device: torch.device, count: int, width: int, blocks: int = 1) -> Iterator[slice]:
    """Slices of ``count`` rows of which each takes ``width`` numbers: one block, or several."""
    return slices(count, max(numbers(device, _BLOCK) * blocks // max(width, 1), 1))


def unit_block(h: Tensor) -> Tensor:
    """Unit rows in float64."""
    return unit_rows(exact(h))


def unit_side(h: Tensor) -> Tensor:
    """The unit rows of a whole side, in float64, made a block at a time."""
    unit = exact(h.new_empty(0)).new_empty(h.shape)
    for rows in row_blocks(h.device, *h.shape):
        unit[rows] = unit_block(h[rows])
    return unit
