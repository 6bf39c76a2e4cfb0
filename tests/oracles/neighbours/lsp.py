"""LSP by loops over centres and their edges."""

import torch
from torch import Tensor

from tests.oracles._shared import median_gamma, similarity


def lsp(
    h_s: Tensor,
    h_t: Tensor,
    edge_index: Tensor,
    *,
    kernel: str = "cosine",
    gamma: float | str = 0.5,
    divergence: str = "kl",
    edge_weight: Tensor | None = None,
):
    edges = [(int(j), int(i)) for j, i in edge_index.t()]
    weight = h_t.new_ones(len(edges)) if edge_weight is None else edge_weight
    bands = [
        median_gamma(
            [(h[j] - h[i]).norm() for (j, i), w in zip(edges, weight, strict=True) if i != j and w]
        )
        if gamma == "median"
        else gamma
        for h in (h_s, h_t)
    ]
    rows = []
    for centre in range(h_s.size(0)):
        into = [e for e, (_, i) in enumerate(edges) if i == centre]
        w = weight[into]
        if not (w > 0).any():
            rows.append(h_s.new_zeros(()))
            continue
        # Each neighbour's probability over its weight, which the logarithm of a ratio lacks.
        p, q = (
            torch.softmax(
                torch.stack([similarity(h[edges[e][0]], h[centre], kernel, g) for e in into]), 0
            )
            for h, g in zip((h_s, h_t), bands, strict=True)
        )
        p, q = (x / (w * x).sum() for x in (p, q))
        terms = w * q * (q / p).log() if divergence == "kl" else (w * (p - q)) ** 2
        rows.append(terms.sum())
    return torch.stack(rows)
