"""G-CRD's row values in their obvious form: all similarities, and their cross-entropy.

To try another contrastive formula, change it here and pass ``backend="reference"``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from graphkd.similarity import unit_rows


def infonce(p: Tensor, q: Tensor, more: Tensor, temperature: float) -> Tensor:
    """−log softmax_j(cos(p_i, k_j) / temperature) at j = i, over the keys k: q, and more."""
    p, keys = unit_rows(p), unit_rows(torch.cat([q, more]))
    target = torch.arange(p.size(0), device=p.device)
    return F.cross_entropy(p @ keys.T / temperature, target, reduction="none")


def symmetric_infonce(p: Tensor, q: Tensor, more: Tensor, temperature: float) -> Tensor:
    """The mean of ``infonce(p, q)`` and ``infonce(q, p)``, the second without further keys."""
    return (infonce(p, q, more, temperature) + infonce(q, p, more[:0], temperature)) / 2
