"""GKD by loops over pairs of nodes."""

import torch
from torch import Tensor

from tests.oracles._shared import distances, median_gamma
from tests.oracles.neighbours.ff_g2m import edges_of


def gkd(
    h_s: Tensor,
    h_t: Tensor,
    edge_index: Tensor,
    *,
    kernel: str = "sigmoid",
    gamma: float | str = 0.5,
    delta: float = 0.1,
    edge_weight: Tensor | None = None,
):
    n = h_s.size(0)
    weight = torch.eye(n, dtype=torch.float64)
    for j, i, w in edges_of(edge_index, edge_weight):
        weight[i, j] += w
    bands = [median_gamma(distances(h)) if gamma == "median" else gamma for h in (h_s, h_t)]
    rows = []
    for i in range(n):
        total = h_s.new_zeros(())
        for j in range(n):
            s, t = (
                (h[i].dot(h[j])).tanh()
                if kernel == "sigmoid"
                else torch.exp(-band * (h[i] - h[j]).square().sum())
                for h, band in zip((h_s, h_t), bands, strict=True)
            )
            total = total + (weight[i, j] + (1 - weight[i, j]) * delta) * (s - t) ** 2
        rows.append(total / n)
    return torch.stack(rows)
