"""Global LSP of inner products over ranks, by the sum of their d × d moments."""

import torch
from torch import Tensor

from graphkd.distributed import Ranks
from graphkd.ops.chunked import moments as one


def moment_gap(
    s: Tensor, t: Tensor, unit: bool, ranks: Ranks, need_s: bool
) -> tuple[Tensor, Tensor]:
    """The mean over all pairs of all ranks' rows, and its gradient for this rank's rows."""
    n = ranks.total()
    for dtype in one.precisions(s):
        tt, td, dd = ranks.sum(torch.stack(one.moments(s, t, unit, None, dtype))).unbind()
        last = dtype == one.precisions(s)[-1]
        if last or ranks.all(one.keeps_digits(tt, td, dd), s.device):
            break
    mean, factors = one.mean_and_factors(tt, td, dd, n, s.size(1))
    if not need_s:
        return mean, s.new_empty(0)
    return mean, one.mean_gradient(1.0, factors, s, t, unit, n, dtype)
