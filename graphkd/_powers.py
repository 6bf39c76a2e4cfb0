"""Powers of e as powers of 2: a CPU takes 2^x in less time than e^x, some in a third of it."""

import math
from typing import Any

from torch import Tensor

LOG2_E = math.log2(math.e)


def exp_(x: Tensor, factor: Any = None) -> Tensor:
    """e^x, or e^(factor · x), written over x. On a GPU, e^x itself is quick."""
    if x.device.type == "cpu":
        return x.mul_(LOG2_E if factor is None else factor * LOG2_E).exp2_()
    return (x if factor is None else x.mul_(factor)).exp_()
