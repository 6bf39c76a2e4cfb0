"""The primitives of the losses over all pairs and triples of rows in their obvious form.

Differentiable by autograd to any order.
"""

import torch.nn.functional as F
from torch import Tensor

from graphkd.similarity import KERNELS, row_statistic, unit_rows


def cosine_likeness(x: Tensor, floor: float) -> Tensor:
    """(cosine + 1)/2 of every pair of rows, and at least ``floor``."""
    x = unit_rows(x)
    return ((x @ x.T + 1) / 2).clamp(min=floor)


def mean_distance(x: Tensor) -> Tensor:
    """The mean over j ≠ i of ‖x_i − x_j‖, for every row i."""
    return _distances(x).sum(dim=1) / max(x.size(0) - 1, 1)


def distance_gap(x_s: Tensor, x_t: Tensor) -> Tensor:
    """The mean over j of the smooth L1 of ‖s_i − s_j‖ − ‖t_i − t_j‖, for every row i."""
    gaps = F.smooth_l1_loss(_distances(x_s), _distances(x_t), reduction="none")
    return gaps.sum(dim=1) / max(x_s.size(0), 1)


def angle_gap(x_s: Tensor, x_t: Tensor) -> Tensor:
    """The mean over j and k of the smooth L1 of cos ∠(j, i, k)'s difference, for every row i."""
    gaps = F.smooth_l1_loss(_angles(x_s), _angles(x_t), reduction="none")
    return gaps.sum(dim=(1, 2)) / max(x_s.size(0), 1) ** 2


def _distances(x: Tensor) -> Tensor:
    kernel = KERNELS["l2"]
    return kernel.value(row_statistic(kernel, x.unsqueeze(1), x.unsqueeze(0)), 0.0)


def _angles(x: Tensor) -> Tensor:
    ways = unit_rows(x - x.unsqueeze(1))
    return ways @ ways.transpose(1, 2)
