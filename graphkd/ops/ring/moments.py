"""Global LSP of inner products over ranks, by the sum of their d × d moments."""

import torch
from torch import Tensor

from graphkd._precision import exact
from graphkd.distributed import Ranks
from graphkd.ops.chunked import moment_rows
from graphkd.ops.chunked import moments as one


def moment_gap(
    s: Tensor, t: Tensor, unit: bool, ranks: Ranks, need_s: bool, scale: Tensor | float
) -> tuple[Tensor, Tensor, Tensor]:
    """What ``pairwise_gap`` gives; one ``scale`` for all rows needs no value per row."""
    if isinstance(scale, Tensor):
        return _weighted(s, t, unit, ranks, need_s, scale)
    n = ranks.total()
    for dtype in one.precisions(s):
        tt, td, dd = ranks.sum(torch.stack(one.moments(s, t, unit, None, dtype))).unbind()
        last = dtype == one.precisions(s)[-1]
        if last or ranks.all(one.keeps_digits(tt, td, dd), s.device):
            break
    mean, factors = one.mean_and_factors(tt, td, dd, n, s.size(1))
    nothing = s.new_empty(0)
    if not need_s:
        return mean * scale, nothing, nothing
    return mean * scale, one.mean_gradient(scale, factors, s, t, unit, n, dtype), nothing


def _weighted(
    s: Tensor, t: Tensor, unit: bool, ranks: Ranks, need_s: bool, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    n = ranks.total()
    moments = one.moments(s, t, unit, None, exact(s[:0]).dtype)
    tt, td, dd = gathered = ranks.sum(torch.stack(moments)).unbind()
    rows = exact(moment_rows.row_values(s, t, unit, gathered, n))
    value, gradient = ranks.sum((rows * scale).sum()) / n, s.new_empty(0)
    if ranks.needed(0):
        weights = scale / n
        heavy = ranks.sum(moment_rows.heavy_factors(weights, s, t, unit))
        if need_s:
            factors = one.factors_of(tt, td, dd, s.size(1))
            gradient = moment_rows.row_gradient(weights, factors, heavy, s, t, unit, n)
    return value, gradient, rows
