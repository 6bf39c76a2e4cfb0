"""Sums and softmaxes over groups of edges, in plain torch, differentiable to any order."""

from collections.abc import Callable

import torch
from torch import Tensor

from graphkd._precision import exact


def segment_sum(values: Tensor, segment: Tensor, count: int) -> Tensor:
    """The sum of the values of each of ``count`` segments, added up in float64.

    One by one in float32, the values of a hub with 100,000 edges would lose four digits.
    """
    wide = exact(values)
    return wide.new_zeros(count).index_add(0, segment, wide).to(values.dtype)


def segment_max(values: Tensor, segment: Tensor, count: int) -> Tensor:
    """The largest value of each segment, −∞ if it is empty; without a gradient."""
    empty = values.new_full((count,), -torch.inf)
    return empty.scatter_reduce(0, segment, values.detach(), "amax")


def segment_log_softmax(
    values: Tensor,
    segment: Tensor,
    count: int,
    total: Callable[[Tensor, Tensor, int], Tensor] = segment_sum,
) -> Tensor:
    """The log-softmax of the values within each segment."""
    largest = segment_max(values, segment, count)
    shifted = values - largest.index_select(0, segment)
    return shifted - total(shifted.exp(), segment, count).index_select(0, segment).log()
