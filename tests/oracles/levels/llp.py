"""LLP by loops over contexts and their pairs."""

import torch
from torch import Tensor

from tests.oracles._shared import divergence


def llp(
    h_s: Tensor,
    h_t: Tensor,
    context: Tensor,
    *,
    temperature: float = 1.0,
    margin: float = 0.1,
    distribution_weight: float = 1.0,
    rank_weight: float = 1.0,
) -> Tensor:
    rows = []
    for anchor, around in enumerate(context.tolist()):
        s, t = (
            torch.stack([torch.sigmoid(h[anchor].dot(h[node])) for node in around])
            for h in (h_s, h_t)
        )
        value = distribution_weight * temperature**2 * divergence(t / temperature, s / temperature)
        pairs = [(a, b) for b in range(len(around)) for a in range(b)]
        for a, b in pairs:
            order = int(t[a] > t[b] + margin) - int(t[a] < t[b] - margin)
            hinge = margin - order * (s[a] - s[b])
            value = value + rank_weight * torch.relu(hinge) / len(pairs)
        rows.append(value)
    return torch.stack(rows)
