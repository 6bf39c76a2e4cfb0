"""VQGraph by loops over nodes and codes."""

import torch
from torch import Tensor

from tests.oracles._shared import cosine, divergence


def vqgraph(
    h_s: Tensor,
    h_t: Tensor,
    codebook: Tensor,
    *,
    temperature: float = 4.0,
    similarity: str = "l2",
) -> Tensor:
    codebook = codebook.to(h_s.dtype)

    def logits(row: Tensor) -> Tensor:
        if similarity == "cosine":
            return torch.stack([cosine(row, code) for code in codebook]) / temperature
        return torch.stack([-(row - code).norm() for code in codebook]) / temperature

    rows = [
        temperature**2 * divergence(logits(t), logits(s)) for s, t in zip(h_s, h_t, strict=True)
    ]
    return torch.stack(rows)
