"""RKD's distances in square tiles, with the gradients.

Replaces ``cdist(h, h).mean()`` and ``F.smooth_l1_loss(cdist(s, s), cdist(t, t))``, with their N × N
matrices.
"""

from functools import partial

from torch import Tensor

from graphkd.ops._autograd import empty_gradient, fused
from graphkd.ops.chunked.pairwise import mirrored_tiles
from graphkd.ops.chunked.statistics import Side, tile_gaps
from graphkd.similarity import KERNELS

_L2 = KERNELS["l2"]


def mean_distance(x: Tensor, chunk_size: int | None) -> Tensor:
    """The mean over j ≠ i of ‖x_i − x_j‖, for every row i."""
    return _mean_distance(x, x[:0].detach(), chunk_size or 0)


def distance_gap(x_s: Tensor, x_t: Tensor, chunk_size: int | None) -> Tensor:
    """The mean over j of the smooth L1 of ‖s_i − s_j‖ − ‖t_i − t_j‖, for every row i."""
    return _distance_gap(x_s, x_t, chunk_size or 0)


def smooth_l1(gap: Tensor) -> tuple[Tensor, Tensor]:
    """x²/2 for |x| up to 1 and |x| − 1/2 beyond, and the derivative."""
    slope = gap.clamp(-1, 1)
    return (gap - slope / 2).mul_(slope), slope


def _force(factor: Tensor | float, gap: Tensor, slope: Tensor | None) -> Tensor:
    pull = smooth_l1(gap)[1].mul_(factor)
    return pull if slope is None else slope.mul_(pull)


def _sweep_mean(
    weights: Tensor | None, x: Tensor, none: Tensor, chunk_size: int, need_x: bool, need_none: bool
) -> tuple[Tensor, Tensor, Tensor]:
    n = x.size(0)
    others, rows = max(n - 1, 1), x.new_zeros(n)
    own = Side(_L2, x, x.new_zeros(()), need_x)
    for i, j in mirrored_tiles(x, chunk_size):
        square, near = own.statistic(i, own, j)
        distances = _L2.value(square, own.gamma)
        rows[i] += distances.sum(dim=1)
        if i != j:
            rows[j] += distances.sum(dim=0)
        if need_x:
            # A pair counts in row i and in row j, with both rows' weights.
            factor = 2 / others if weights is None else (weights[i, None] + weights[j]) / others
            own.pull(_L2.slope(square, distances, own.gamma).mul_(factor), square, near, i, own, j)
    return rows / others, own.finished_gradient(), empty_gradient(none, False)


def _sweep_gap(
    weights: Tensor | None, x_s: Tensor, x_t: Tensor, chunk_size: int, need_s: bool, need_t: bool
) -> tuple[Tensor, Tensor, Tensor]:
    n = max(x_s.size(0), 1)
    gamma, rows = x_s.new_zeros(()), x_s.new_zeros(x_s.size(0))
    sides = [Side(_L2, x_s, gamma, need_s), Side(_L2, x_t, gamma, need_t)]
    for i, j in mirrored_tiles(x_s, chunk_size):
        factor = 2 / n if weights is None else (weights[i, None] + weights[j]) / n
        gap = tile_gaps(sides, sides, i, j, partial(_force, factor))
        value, _ = smooth_l1(gap)
        rows[i] += value.sum(dim=1)
        if i != j:
            rows[j] += value.sum(dim=0)
    gradients = [x.finished_gradient() for x in sides]
    return rows / n, gradients[0], gradients[1]


_mean_distance = fused("mean_distance", _sweep_mean, backend="chunked")
_distance_gap = fused("distance_gap", _sweep_gap, backend="chunked")
