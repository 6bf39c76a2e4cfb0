"""Global LSP's row values in square tiles, with the gradients.

Replaces ``(k(s, s) - k(t, t)).square().mean(dim=1)`` and its N × N matrices. The kernels normalise
their rows themselves.
"""

from collections.abc import Iterator

from torch import Tensor

from graphkd.ops._autograd import fused
from graphkd.ops._blocks import side, slices
from graphkd.ops.chunked.statistics import FEW, Side, tile_squares
from graphkd.similarity import (
    Kernel,
    crowded,
    kernel_named,
    unit_and_inverse,
    unit_gradient_,
)

# The side of a square tile: small enough for a core's cache, large enough for matrix products.
SIDE = 512


def pairwise_gap(
    x_s: Tensor,
    x_t: Tensor,
    kernel: Kernel,
    gamma_s: Tensor,
    gamma_t: Tensor,
    chunk_size: int | None,
) -> Tensor:
    """The mean over j of (k(s_i, s_j) − k(t_i, t_j))², for every row i."""
    return _pairwise_gap(x_s, x_t, gamma_s, gamma_t, kernel.name, chunk_size or 0)


def mirrored_tiles(x: Tensor, chunk_size: int) -> Iterator[tuple[slice, slice]]:
    """The tiles on and above the diagonal. Kernels are symmetric: the other tiles mirror them."""
    blocks = list(slices(x.size(0), chunk_size or side(x.device, SIDE)))
    for place, i in enumerate(blocks):
        for j in blocks[place:]:
            yield i, j


def _sweep(
    weights: Tensor | None,
    x_s: Tensor,
    x_t: Tensor,
    gamma_s: Tensor,
    gamma_t: Tensor,
    kernel: str,
    chunk_size: int,
    need_s: bool,
    need_t: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    n = x_s.size(0)
    spec = kernel_named(kernel)
    tiles = list(mirrored_tiles(x_s, chunk_size))
    if spec.inner and weights is None and len(tiles) <= 1 and not need_t:
        once = _sweep_once(x_s, x_t, spec, need_s)
        if once is not None:
            return *once, x_t.new_empty(0)
    rough = n < FEW and len(tiles) <= 1
    sides = [
        Side(spec, x, gamma, learns, rough=rough)
        for x, gamma, learns in ((x_s, gamma_s, need_s), (x_t, gamma_t, need_t))
    ]
    rows = x_s.new_zeros(n)
    for i, j in tiles:
        # A pair counts in row i and in row j, with both rows' weights.
        factor = None if weights is None else weights[i, None] + weights[j]
        squares = tile_squares(sides, sides, i, j, factor)
        rows[i] += squares.sum(dim=1)
        if i != j:
            rows[j] += squares.sum(dim=0)
    scale = (4 if weights is None else 2) / max(n, 1)
    gradients = [x.finished_gradient().mul_(scale) for x in sides]
    return rows / max(n, 1), gradients[0], gradients[1]


def _sweep_once(
    x_s: Tensor, x_t: Tensor, kernel: Kernel, need_s: bool
) -> tuple[Tensor, Tensor] | None:
    """Inner products in a single tile: the care of tiles would cost more than the products.

    None stands for rows that need this care.
    """
    n = max(x_s.size(0), 1)
    if kernel.unit:
        x_s, inverse = unit_and_inverse(x_s)
        x_t = unit_and_inverse(x_t)[0]
    if any(crowded(x, kernel.unit) for x in (x_s, x_t)):
        return None
    gap = (x_s @ x_s.T).sub_(x_t @ x_t.T)
    gradient = (gap @ x_s).mul_(4 / n) if need_s else x_s.new_empty(0)
    if kernel.unit and need_s:
        unit_gradient_(gradient, x_s, inverse)
    return gap.square_().sum(dim=1).div_(n), gradient


_pairwise_gap = fused("pairwise_gap", _sweep, backend="chunked")
