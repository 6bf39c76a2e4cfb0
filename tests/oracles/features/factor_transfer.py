"""Factor transfer by a loop over nodes."""

import torch
from torch import Tensor

from tests.oracles._shared import unit


def factor_transfer(h_s: Tensor, h_t: Tensor, *, p: int = 1) -> Tensor:
    gaps = [(unit(s) - unit(t)).abs() for s, t in zip(h_s, h_t, strict=True)]
    return torch.stack([gap.sum() if p == 1 else gap.dot(gap).sqrt() for gap in gaps])
