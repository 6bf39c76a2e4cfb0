"""RKD's angles in their obvious form: the cosines of all triples, N × N × N."""

import torch.nn.functional as F
from torch import Tensor

from graphkd.similarity import unit_rows


def angle_gap(x_s: Tensor, x_t: Tensor) -> Tensor:
    """The mean over j and k of the smooth L1 of the gap in cos ∠(j, i, k), for every row i."""
    gaps = F.smooth_l1_loss(_angles(x_s), _angles(x_t), reduction="none")
    return gaps.sum(dim=(1, 2)) / max(x_s.size(0), 1) ** 2


def _angles(x: Tensor) -> Tensor:
    ways = unit_rows(x - x.unsqueeze(1))
    return ways @ ways.transpose(1, 2)
