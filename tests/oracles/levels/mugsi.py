"""MuGSI by loops over graphs, clusters and paths."""

import torch
from torch import Tensor

from tests.oracles._shared import cosine, divergence


def mugsi(
    h_s: Tensor,
    h_t: Tensor,
    batch: Tensor,
    clusters: Tensor,
    paths: Tensor,
    *,
    graph_weight: float = 1.0,
    cluster_weight: float = 1.0,
    path_weight: float = 1.0,
) -> Tensor:
    graphs = sorted(set(batch.tolist()))
    value = torch.zeros((), dtype=h_s.dtype)
    for graph in graphs:
        own = [i for i in range(len(batch)) if int(batch[i]) == graph]
        s, t = (sum(h[i] for i in own) for h in (h_s, h_t))
        gap = s / s.norm() - t / t.norm()
        value = value + graph_weight * (gap * gap).mean() / len(graphs)
        names = sorted({int(clusters[i]) for i in own})
        pools = [
            [sum(h[i] for i in own if int(clusters[i]) == name) for name in names]
            for h in (h_s, h_t)
        ]
        for a in range(len(names)):
            for b in range(len(names)):
                gap = cosine(pools[0][a], pools[0][b]) - cosine(pools[1][a], pools[1][b])
                value = value + cluster_weight * gap**2 / 2 / len(graphs)
    for first, *others in paths.tolist():
        s, t = (torch.stack([h[first].dot(h[i]) for i in others]) for h in (h_s, h_t))
        value = value + path_weight * divergence(t, s) / len(paths)
    return value
