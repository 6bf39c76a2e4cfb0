"""Sums over pairs of layers and over teachers the obvious way, by loops; nothing shared."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tests.oracles.core import attention_transfer, kd
from tests.oracles.similarities import similarity_preserving


def layerwise(
    h_s: list[Tensor],
    h_t: list[Tensor],
    *,
    pairs: Any = "uniform",
    weights: Any = None,
    loss: Any = None,
    one: Callable[..., Tensor] = attention_transfer,
) -> Tensor:
    """Row values; ``weights`` are one per pair, or a matrix with a row per node."""
    if pairs == "uniform":
        depth, height = len(h_s), len(h_t)
        pairs = [(i, math.ceil((i + 1) * height / depth) - 1) for i in range(depth)]
    rows = [one(h_s[i], h_t[j]) for i, j in pairs]
    return _mixed(rows, weights)


def multi_teacher(
    h_s: Tensor,
    h_t: list[Tensor],
    *,
    weights: Any = None,
    entropy: float = 0.0,
    loss: Any = None,
    one: Callable[..., Tensor] = similarity_preserving,
) -> Tensor:
    rows = _mixed([one(h_s, h) for h in h_t], weights)
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


def _mixed(rows: list[Tensor], weights: Any) -> Tensor:
    out = []
    for i in range(rows[0].size(0)):
        total = rows[0].new_zeros(())
        for k, values in enumerate(rows):
            if weights is None:
                weight = 1 / len(rows)
            else:
                by_node = isinstance(weights, Tensor) and weights.dim() == 2
                weight = weights[i, k] if by_node else weights[k]
            total = total + weight * values[i]
        out.append(total)
    return torch.stack(out)


def attention(
    h_s: list[Tensor], h_t: list[Tensor], queries: list[nn.Module], keys: list[nn.Module]
) -> Tensor:
    """SemCKD's weights with MLPs of embeddings, node by node: [N, S, T]."""
    nodes = []
    for i in range(h_s[0].size(0)):
        table = []
        for h, query in zip(h_s, queries, strict=True):
            energies = []
            for g, key in zip(h_t, keys, strict=True):
                q, k = query(h[i]), key(g[i])
                energies.append(q.dot(k) / (q.dot(q) * k.dot(k)) ** 0.5)
            exp = [torch.exp(energy) for energy in energies]
            table.append(torch.stack([e / sum(exp) for e in exp]))
        nodes.append(torch.stack(table))
    return torch.stack(nodes)
