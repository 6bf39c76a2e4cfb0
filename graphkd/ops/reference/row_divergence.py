"""The primitives of the losses over all pairs and triples of rows in their obvious form.

Differentiable by autograd to any order.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from graphkd.similarity import KERNELS, row_statistic, unit_rows


def row_divergence(x_s: Tensor, x_t: Tensor, epsilon: float) -> Tensor:
    """Σ_j q_ij log((q_ij + ε)/(p_ij + ε)), q the teacher's and p the student's, for every row i."""
    p, q = _cosine_shares(x_s), _cosine_shares(x_t)
    gap = q - p
    # The gaps of a row sum to 0; without them, terms are as small as the value near convergence.
    return (q * torch.log1p(gap / (p + epsilon)) - gap).sum(dim=1)


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


def _cosine_shares(x: Tensor) -> Tensor:
    """(cosine + 1)/2 of every pair of rows, divided by the sum of its row."""
    x = unit_rows(x)
    likeness = (x @ x.T + 1) / 2
    # Rounding may leave less than the least one, 0. The gradient is that of the others.
    likeness = likeness + (-likeness).clamp(min=0).detach()
    return likeness / likeness.sum(dim=1, keepdim=True)


def _distances(x: Tensor) -> Tensor:
    kernel = KERNELS["l2"]
    return kernel.value(row_statistic(kernel, x.unsqueeze(1), x.unsqueeze(0)), 0.0)


def _angles(x: Tensor) -> Tensor:
    ways = unit_rows(x - x.unsqueeze(1))
    return ways @ ways.transpose(1, 2)
