"""Sums over pairs of layers by loops, and the weights of attention."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tests.oracles.features.attention_transfer import attention_transfer


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
    return mixed(rows, weights)


def mixed(rows: list[Tensor], weights: Any) -> Tensor:
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
