"""Correlation congruence by loops over pairs of nodes."""

import math

import torch
from torch import Tensor

from tests.oracles._shared import unit


def correlation_congruence(h_s: Tensor, h_t: Tensor, *, gamma: float = 0.4, order: int = 2):
    n = h_s.size(0)

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        c = unit(x).dot(unit(y))
        terms = [(2 * gamma) ** p / math.factorial(p) * c**p for p in range(order + 1)]
        return math.exp(-2 * gamma) * sum(terms)

    rows = []
    for i in range(n):
        gaps = [kernel(h_s[i], h_s[j]) - kernel(h_t[i], h_t[j]) for j in range(n)]
        rows.append(sum(gap**2 for gap in gaps) / n)
    return torch.stack(rows)
