"""RKD's angles, a few vertices at a time, with the gradients.

Replaces ``F.smooth_l1_loss(cos(s), cos(t))`` of the N × N × N cosines between differences of rows.
A block of vertices holds only its own cosines.
"""

import torch
from torch import Tensor

from graphkd.ops._autograd import empty_gradient, fused
from graphkd.ops._blocks import numbers, slices
from graphkd.ops.chunked.distances import smooth_l1
from graphkd.similarity import unit_and_inverse, unit_gradient

# A block holds at most this many cosines or differences, unless it is a single vertex.
_BLOCK = 2**20


def angle_gap(x_s: Tensor, x_t: Tensor, chunk_size: int | None) -> Tensor:
    """The mean over j and k of the smooth L1 of the gap in cos ∠(j, i, k), for every row i.

    Only the student gets a gradient.
    """
    return _angle_gap(x_s, x_t, chunk_size or 0)


def _sweep(
    weights: Tensor | None,
    x_s: Tensor,
    x_t: Tensor,
    chunk_size: int,
    need_s: bool,
    need_t: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    n, most = x_s.size(0), max(x_s.size(0), x_s.size(1), x_t.size(1))
    size = max(numbers(x_s.device, _BLOCK) // max(n * most, 1), 1)
    rows, gradient = (
        x_s.new_empty(n),
        torch.zeros_like(x_s) if need_s else empty_gradient(x_s, False),
    )
    for i in slices(n, min(chunk_size or size, size)):
        (ways, inverse), (goals, _) = (unit_and_inverse(x - x[i, None]) for x in (x_s, x_t))
        gap = (ways @ ways.mT).sub_(goals @ goals.mT)
        value, slope = smooth_l1(gap)
        rows[i] = value.sum(dim=(1, 2))
        if need_s:
            # A pair of ways counts at (j, k) and at (k, j).
            slope *= 2 / n**2 if weights is None else weights[i, None, None] * (2 / n**2)
            pull = unit_gradient(slope @ ways, ways, inverse)
            gradient += pull.sum(dim=0)
            gradient[i] -= pull.sum(dim=1)
    return rows / max(n, 1) ** 2, gradient, empty_gradient(x_t, False)


_angle_gap = fused("angle_gap", _sweep, backend="chunked")
