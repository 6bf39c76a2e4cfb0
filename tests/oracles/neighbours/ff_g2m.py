"""FF-G2M by loops over nodes and edges."""

import torch
from torch import Tensor

from tests.oracles._shared import divergence


def edges_of(
    edge_index: Tensor, edge_weight: Tensor | None = None
) -> list[tuple[int, int, Tensor | float]]:
    """Pairs (j, i) of two nodes, and the weight of each."""
    pairs = edge_index.t().tolist()
    weight = [1.0] * len(pairs) if edge_weight is None else edge_weight
    return [(j, i, w) for (j, i), w in zip(pairs, weight, strict=True) if j != i]


def rows_of_a_mean(sums: list[Tensor], weight: Tensor | float, like: Tensor) -> Tensor:
    """Row values whose mean is the sum over all rows, divided by the weight."""
    if weight == 0:
        return torch.stack(sums)
    return torch.stack(sums) * (like.size(0) / weight)


def ff_g2m(
    z_s: Tensor,
    z_t: Tensor,
    edge_index: Tensor,
    *,
    low_weight: float = 1.0,
    high_weight: float = 1.0,
    low_temperature: float = 1.0,
    high_temperature: float = 1.5,
    edge_weight: Tensor | None = None,
):
    edges = edges_of(edge_index, edge_weight)
    low, high = [], []
    for i in range(z_s.size(0)):
        neighbours = [(j, w) for j, centre, w in edges if centre == i]
        low.append(
            sum(
                w * divergence(z_t[j] / low_temperature, z_s[i] / low_temperature)
                for j, w in [(i, 1), *neighbours]
            )
        )
        differences = [
            w
            * divergence(
                (z_t[j] - z_t[i]).abs() / high_temperature,
                (z_s[j] - z_s[i]).abs() / high_temperature,
            )
            for j, w in neighbours
        ]
        high.append(sum(differences, start=z_s.new_zeros(())))
    count = sum(w for _, _, w in edges)
    return low_weight * rows_of_a_mean(
        low, count + z_s.size(0), z_s
    ) + high_weight * rows_of_a_mean(high, count, z_s)
