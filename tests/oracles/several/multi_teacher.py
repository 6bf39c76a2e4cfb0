"""Sums over teachers by loops."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tests.oracles.logits.kd import kd
from tests.oracles.pairs.similarity_preserving import similarity_preserving
from tests.oracles.several.layerwise import mixed


def multi_teacher(
    h_s: Tensor,
    h_t: list[Tensor],
    *,
    weights: Any = None,
    entropy: float = 0.0,
    loss: Any = None,
    one: Callable[..., Tensor] = similarity_preserving,
) -> Tensor:
    rows = mixed([one(h_s, h) for h in h_t], weights)
    if not entropy:
        return rows
    count = len(h_t)
    prices = []
    for i in range(h_s.size(0)):
        own = weights[i] if weights.dim() == 2 else weights
        prices.append(entropy * sum(own[k] * torch.log(count * own[k]) for k in range(count)))
    return rows + torch.stack(prices)


def mixed_kd(z_s: Tensor, z_t: list[Tensor], weights: Tensor, entropy: float) -> Tensor:
    """KD of several teachers, weighed by node."""
    return multi_teacher(z_s, z_t, weights=weights, entropy=entropy, one=kd)
