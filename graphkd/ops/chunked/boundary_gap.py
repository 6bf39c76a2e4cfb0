"""AB's row values, a block of rows at a time, with the student's gradient.

Replaces ``(margin - sign * x_s).relu().square().sum(dim=1)``. A block stays in a core's cache.
"""

import torch
from torch import Tensor

from graphkd.ops._autograd import by_hand, empty_gradient, scaled_rows
from graphkd.ops._blocks import cached_rows, slices
from graphkd.ops.reference.boundary_gap import boundary_gap as law
from graphkd.ops.reference.boundary_gap import side_of


def _forward(
    x_s: Tensor, x_t: Tensor, margin: float, need_s: bool, need_t: bool
) -> tuple[Tensor, Tensor, Tensor]:
    n, width = x_s.shape
    values, gradient = x_s.new_empty(n), empty_gradient(x_s, need_s)
    for rows in slices(n, cached_rows(width)):
        sign = side_of(x_t[rows])
        short = torch.mul(sign, x_s[rows]).neg_().add_(margin).relu_()
        torch.linalg.vecdot(short, short, out=values[rows])
        if need_s:
            torch.mul(short, sign, out=gradient[rows]).mul_(-2)
    return values, gradient, x_t.new_empty(0)


boundary_gap = by_hand(law, _forward, scaled_rows)
