"""G-CRD's row values in their obvious form: all similarities, and their cross-entropy.

To try another contrastive formula, change it here and pass ``backend="reference"``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from graphkd.similarity import unit_rows


def infonce(
    p: Tensor, q: Tensor, more: Tensor, drawn: Tensor | None, temperature: float | Tensor
) -> Tensor:
    """−log softmax_j(cos(p_i, k_j) / temperature) at j = i, over the keys k: q, and more.

    Of q, only the rows with the numbers ``drawn`` are negatives, if it is given. A row's sum over
    them is scaled to the number of all other rows.
    """
    p, q, more = unit_rows(p), unit_rows(q), unit_rows(more)
    numbers = torch.arange(p.size(0), device=p.device)
    if drawn is None:
        return F.cross_entropy(p @ torch.cat([q, more]).T / temperature, numbers, reduction="none")
    itself = numbers[:, None] == drawn
    factor = (p.size(0) - 1) / (~itself).sum(dim=1, keepdim=True).to(p.dtype)
    own = torch.linalg.vecdot(p, q)[:, None] / temperature
    negatives = p @ q.index_select(0, drawn).T / temperature + factor.log()
    logits = [own, negatives.masked_fill(itself, -torch.inf), p @ more.T / temperature]
    return F.cross_entropy(torch.cat(logits, dim=1), torch.zeros_like(numbers), reduction="none")


def symmetric_infonce(
    p: Tensor, q: Tensor, more: Tensor, drawn: Tensor | None, temperature: float | Tensor
) -> Tensor:
    """The mean of ``infonce(p, q)`` and ``infonce(q, p)``, the second without further keys."""
    there = infonce(p, q, more, drawn, temperature)
    return (there + infonce(q, p, more[:0], drawn, temperature)) / 2
