"""For every row i, sums of squares over all rows j, from d × d moments instead of pairs."""

import torch
import torch.nn.functional as F
from torch import Tensor

from graphkd._precision import exact


def of_one_width(s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Both sides, the narrower one padded with zeros: inner products within a side stay."""
    missing = t.size(1) - s.size(1)
    return F.pad(s, (0, max(missing, 0))), F.pad(t, (0, max(-missing, 0)))


def over_largest(h: Tensor) -> Tensor:
    """The rows in float64, divided by their largest absolute entry, so that no square overflows.

    The divisor gets no gradient. That is exact if the value ignores the scale of all rows.
    """
    h = exact(h)
    each = h.detach().abs().amax(dim=1)
    largest = torch.cat([each, each.new_zeros(1)]).amax()  # there may be no rows
    return h / largest.masked_fill(largest == 0, 1)


def squared_lengths(x: Tensor, p: Tensor, y: Tensor, q: Tensor) -> Tensor:
    """‖X p_i + Y q_i‖² for every row i; the vector has one entry per row j.

    X and Y hold rows, and p_i and q_i are rows of P and Q. With the moments XᵀX, XᵀY and YᵀY it is
    p_i XᵀX p_i + 2 p_i XᵀY q_i + q_i YᵀY q_i. Rounding may make this negative.
    """
    mixed = p @ (x.T @ x) + 2 * (q @ (y.T @ x))
    total: Tensor = torch.linalg.vecdot(p, mixed) + torch.linalg.vecdot(q, q @ (y.T @ y))
    return total.clamp(min=0)
