"""Embeddings, logits, labels and a graph for the tests of the pictures."""

import torch
from torch import Tensor

N = 40


def rows(*widths: int, seed: int = 0, n: int = N) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, width, generator=generator) for width in widths]


H_S, H_T, Z_S, Z_T = rows(3, 5, 4, 4)
Y = torch.arange(N) % 4
EDGES = torch.cat(  # node 39 has a self loop only; node 0 gets an edge from everyone else
    [torch.randint(0, N - 1, (2, 90), generator=torch.Generator().manual_seed(1)),
     torch.stack([torch.arange(1, N - 1), torch.zeros(N - 2, dtype=torch.long)]),
     torch.full((2, 1), N - 1)], dim=1,
)  # fmt: skip
