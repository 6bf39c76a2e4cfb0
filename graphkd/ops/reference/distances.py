"""RKD's distances in their obvious form: all pairs, by direct differences."""

import torch.nn.functional as F
from torch import Tensor

from graphkd.similarity import KERNELS, row_statistic


def mean_distance(x: Tensor) -> Tensor:
    """The mean over j ≠ i of ‖x_i − x_j‖, for every row i."""
    return _distances(x).sum(dim=1) / max(x.size(0) - 1, 1)


def distance_gap(x_s: Tensor, x_t: Tensor) -> Tensor:
    """The mean over j of the smooth L1 of ‖s_i − s_j‖ − ‖t_i − t_j‖, for every row i."""
    gaps = F.smooth_l1_loss(_distances(x_s), _distances(x_t), reduction="none")
    return gaps.sum(dim=1) / max(x_s.size(0), 1)


def _distances(x: Tensor) -> Tensor:
    kernel = KERNELS["l2"]
    return kernel.value(row_statistic(kernel, x.unsqueeze(1), x.unsqueeze(0)), 0.0)
