"""Segment operations by torch_scatter, if it is installed."""

from types import ModuleType

from torch import Tensor

from graphkd._precision import exact, traced
from graphkd.ops import segments


def _torch_scatter() -> ModuleType:
    """The module, or an ImportError that says how to install it."""
    try:
        import torch_scatter
    except ImportError as error:
        raise ImportError(
            "backend='scatter' needs torch_scatter, which is not installed. It is built against "
            "the installed torch: run `pip install setuptools wheel`, then "
            "`pip install --no-build-isolation 'graphkd[scatter]'`. Or use backend='auto'."
        ) from error
    module: ModuleType = torch_scatter
    return module


def segment_sum(values: Tensor, segment: Tensor, count: int) -> Tensor:
    """The sum of the values of each of ``count`` segments, added up in float64."""
    total: Tensor = _torch_scatter().scatter_add(exact(values), segment, dim_size=count)
    return total.to(values.dtype)


def segment_log_softmax(values: Tensor, segment: Tensor, count: int) -> Tensor:
    """The log-softmax of the values within each segment."""
    if traced():  # its sums can be traced, but not its maximum
        return segments.segment_log_softmax(values, segment, count, total=segment_sum)
    result: Tensor = _torch_scatter().scatter_log_softmax(values, segment, dim_size=count, eps=0.0)
    return result
