"""AB's row values in their obvious form: how far pre-activations are from the right side."""

import torch
from torch import Tensor


def boundary_gap(x_s: Tensor, x_t: Tensor, margin: float) -> Tensor:
    """The sum over the columns of relu(margin − sign(t_i) s_i)², for every row i."""
    return (margin - side_of(x_t) * x_s).relu().square().sum(dim=1)


def side_of(x_t: Tensor) -> Tensor:
    """1 where the teacher is positive, and −1 elsewhere; NaN where it is NaN or infinite."""
    one = torch.ones_like(x_t)
    return torch.where(x_t > 0, one, -one) + (x_t - x_t)
