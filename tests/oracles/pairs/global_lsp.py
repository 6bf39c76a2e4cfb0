"""GlobalLSP by loops over pairs of nodes."""

import torch
from torch import Tensor

from tests.oracles._shared import distances, median_gamma, similarity


def global_lsp(h_s: Tensor, h_t: Tensor, *, kernel: str = "cosine", gamma: float | str = 0.5):
    n = h_s.size(0)
    bands = [median_gamma(distances(h)) if gamma == "median" else gamma for h in (h_s, h_t)]
    rows = []
    for i in range(n):
        gaps = [
            similarity(h_s[i], h_s[j], kernel, bands[0])
            - similarity(h_t[i], h_t[j], kernel, bands[1])
            for j in range(n)
        ]
        rows.append(sum(gap**2 for gap in gaps) / n)
    return torch.stack(rows)
