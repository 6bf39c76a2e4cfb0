"""FitNet's row values, a block of rows at a time, with the gradients.

Replaces ``(unit(x_s) - unit(x_t)).square().mean(dim=1)``. A block stays in a core's cache, from its
first look at the rows to their gradient.
"""

import torch
from torch import Tensor

from graphkd.ops._autograd import by_hand, empty_gradient, scaled_rows
from graphkd.ops._blocks import cached_rows, slices
from graphkd.ops.reference.unit_gap import unit_gap as law
from graphkd.similarity import unit_and_inverse


def _forward(x_s: Tensor, x_t: Tensor, need_s: bool, need_t: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The values, and the gradients of their sum."""
    n, width = x_s.shape
    values = x_s.new_empty(n)
    gradients = empty_gradient(x_s, need_s), empty_gradient(x_t, need_t)
    for rows in slices(n, cached_rows(width)):
        looks = unit_and_inverse(x_s[rows]), unit_and_inverse(x_t[rows])
        gap = looks[0][0] - looks[1][0]
        torch.linalg.vecdot(gap, gap, out=values[rows])
        for gradient, (unit, inverse), factor in zip(gradients, looks, (2, -2), strict=True):
            if gradient.numel():
                along = torch.linalg.vecdot(unit, gap).unsqueeze(-1)
                block = torch.addcmul(gap, unit, along, value=-1, out=gradient[rows])
                block.mul_(inverse.mul_(factor / width))
    return values.div_(width), *gradients


unit_gap = by_hand(law, _forward, scaled_rows)
