"""DKD by loops over rows and classes."""

import torch
from torch import Tensor


def dkd(
    z_s: Tensor,
    z_t: Tensor,
    *,
    y: Tensor,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
) -> Tensor:
    rows = []
    for s, t, own in zip(z_s, z_t, y.tolist(), strict=True):
        p, q = ((z / temperature).exp() for z in (s, t))
        p, q = p / p.sum(), q / q.sum()
        others = [c for c in range(len(s)) if c != own]
        p_rest, q_rest = sum(p[c] for c in others), sum(q[c] for c in others)
        target = q[own] * (q[own] / p[own]).log() + q_rest * (q_rest / p_rest).log()
        among = sum(q[c] / q_rest * ((q[c] / q_rest) / (p[c] / p_rest)).log() for c in others)
        rows.append(temperature**2 * (alpha * target + beta * among))
    return torch.stack(rows)
