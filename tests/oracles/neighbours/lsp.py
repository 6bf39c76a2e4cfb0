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
):
    edges = [(int(j), int(i)) for j, i in edge_index.t()]
    bands = [
        median_gamma([(h[j] - h[i]).norm() for j, i in edges if i != j])
        if gamma == "median"
        else gamma
        for h in (h_s, h_t)
    ]
    rows = []
    for centre in range(h_s.size(0)):
        neighbours = [j for j, i in edges if i == centre]
        if not neighbours:
            rows.append(h_s.new_zeros(()))
            continue
        p, q = (
            torch.softmax(
                torch.stack([similarity(h[j], h[centre], kernel, g) for j in neighbours]), 0
            )
            for h, g in zip((h_s, h_t), bands, strict=True)
        )
        rows.append((q * (q / p).log()).sum() if divergence == "kl" else ((p - q) ** 2).sum())
    return torch.stack(rows)
