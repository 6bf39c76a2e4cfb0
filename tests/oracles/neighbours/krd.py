"""KRD by loops over nodes and edges."""

from torch import Tensor

from tests.oracles._shared import divergence
from tests.oracles.neighbours.ff_g2m import edges_of, rows_of_a_mean


def krd(
    z_s: Tensor,
    z_t: Tensor,
    edge_index: Tensor,
    reliability: Tensor,
    *,
    alpha: float = 1.0,
    temperature: float = 1.0,
    edge_weight: Tensor | None = None,
):
    weight = [1 - (1 - float(r)) ** alpha for r in reliability]
    sums, total = [], 0.0
    for i in range(z_s.size(0)):
        value = divergence(z_t[i] / temperature, z_s[i] / temperature)
        total += 1
        for j, centre, w in edges_of(edge_index, edge_weight):
            if centre == i:
                share = w * weight[j]
                value = value + share * divergence(z_t[j] / temperature, z_s[i] / temperature)
                total = total + share
        sums.append(value)
    return rows_of_a_mean(sums, total, z_s)
