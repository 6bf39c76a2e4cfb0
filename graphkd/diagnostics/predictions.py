"""Whether two models predict the same."""

import torch
from torch import Tensor

from graphkd._precision import exact
from graphkd.diagnostics._gate import matched_sides


def agreement(z_s: Tensor, z_t: Tensor) -> Tensor:
    """Agreement."""
    z_s, z_t = matched_logits(z_s, z_t)
    return agreeing(predicted(z_s), predicted(z_t)).mean()


def matched_logits(z_s: Tensor, z_t: Tensor) -> tuple[Tensor, Tensor]:
    """The logits of both sides, checked and without a gradient."""
    classes = "Both must predict the same classes."
    names = ("z_s", "z_t")
    return matched_sides("agreement", z_s, z_t, names=names, what="logits", projecting=classes)


def predicted(z: Tensor) -> Tensor:
    """The number of each row's class in float64; NaN for a row with a NaN."""
    return exact(z.argmax(dim=1).float()).masked_fill(z.isnan().any(dim=1), torch.nan)


def agreeing(s: Tensor, t: Tensor) -> Tensor:
    """1 where both classes are one, else 0; NaN where one is unknown."""
    return (s == t).to(s.dtype).masked_fill((s + t).isnan(), torch.nan)
