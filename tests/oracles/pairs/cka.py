"""CKA by centred matrices of all pairs of nodes."""

import torch
from torch import Tensor

from tests.oracles.pairs.similarity_preserving import gram_rows


def cka(h_s: Tensor, h_t: Tensor, *, debiased: bool = False) -> Tensor:
    """1 − Σ K L/(‖K‖ ‖L‖) by the centred matrices K and L, split as ½ Σ (K/‖K‖ − L/‖L‖)²."""
    n = h_s.size(0)

    def centred(h: Tensor) -> Tensor:
        gram = torch.stack(gram_rows(h))
        middle = torch.eye(n, dtype=h.dtype) - 1 / n
        kernel = middle @ gram @ middle
        return kernel / kernel.norm()

    def without_diagonal(h: Tensor) -> Tensor:
        gram = torch.stack(gram_rows(h)) * (1 - torch.eye(n, dtype=h.dtype))
        sums, total = gram.sum(dim=1), gram.sum() / ((n - 1) * (n - 2))
        rows = []
        for i in range(n):
            entries = [gram[i, j] - (sums[i] + sums[j]) / (n - 2) + total for j in range(n)]
            entries[i] = h.new_zeros(())
            rows.append(torch.stack(entries))
        kernel = torch.stack(rows)
        return kernel / kernel.norm()

    align = without_diagonal if debiased else centred
    gap = align(h_s) - align(h_t)
    return torch.stack([(row**2).sum() for row in gap]) * n / 2
