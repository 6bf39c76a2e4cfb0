"""NST by loops over pairs of nodes and over neurons."""

import torch
from torch import Tensor

from tests.oracles._shared import unit


def nst(h_s: Tensor, h_t: Tensor) -> Tensor:
    """NST over pairs of nodes, by the mean over neurons of the product of their two activations."""
    n = h_s.size(0)
    s, t = ([unit(column) for column in h.T] for h in (h_s, h_t))

    def together(columns: list[Tensor], i: int, j: int) -> Tensor:
        return torch.stack([column[i] * column[j] for column in columns]).mean()

    return torch.stack(
        [
            n * torch.stack([(together(s, i, j) - together(t, i, j)) ** 2 for j in range(n)]).sum()
            for i in range(n)
        ]
    )
