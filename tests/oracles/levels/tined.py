"""TINED by a dense Laplacian."""

import torch
from torch import Tensor


def energy(
    x: Tensor, edge_index: Tensor, normalized: bool = False, edge_weight: Tensor | None = None
) -> Tensor:
    """The trace with a dense Laplacian, each edge taken both ways at half its weight."""
    n = x.size(0)
    adjacency = torch.zeros(n, n, dtype=x.dtype)
    for e, (j, i) in enumerate(edge_index.t().tolist()):
        half = 0.5 if edge_weight is None else edge_weight[e] / 2
        adjacency[i, j] += half
        adjacency[j, i] += half
    degree = adjacency.sum(1)
    if normalized:
        root = torch.stack([d**-0.5 if d > 0 else d for d in degree])
        adjacency = root[:, None] * adjacency * root
        laplacian = torch.diag((degree > 0).to(x.dtype)) - adjacency
    else:
        laplacian = torch.diag(degree) - adjacency
    return torch.trace(x.T @ laplacian @ x) / n


def tined(
    h_s: tuple[Tensor, ...],
    h_t: tuple[Tensor, ...],
    edge_index: Tensor,
    *,
    measure: str = "ratio",
    normalized: bool = False,
    edge_weight: Tensor | None = None,
) -> Tensor:
    def ratio(before: Tensor, after: Tensor) -> Tensor:
        how = edge_index, normalized, edge_weight
        value = energy(after, *how) / energy(before, *how)
        return {"ratio": value, "root": value**0.5, "log": value.log()}[measure]

    total = torch.zeros((), dtype=h_s[0].dtype)
    for layer in range(len(h_s) - 1):
        gap = ratio(h_s[layer], h_s[layer + 1]) - ratio(h_t[layer], h_t[layer + 1])
        total = total + gap**2
    return total
