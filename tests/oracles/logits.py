"""DKD and DIST the obvious way: loops over rows and classes, nothing shared."""

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


def _centred(x: Tensor) -> Tensor | None:
    """A vector less its mean, of unit length; None where its entries are all equal."""
    if bool((x == x[0]).all()):
        return None
    gaps = x - x.sum() / len(x)
    return gaps / gaps.dot(gaps).sqrt()


def dist(
    z_s: Tensor,
    z_t: Tensor,
    *,
    beta: float = 1.0,
    gamma: float = 1.0,
    temperature: float = 1.0,
) -> Tensor:
    n, classes = z_s.shape
    p, q = (torch.softmax(z / temperature, 1) for z in (z_s, z_t))
    rows = []
    for i in range(n):
        u, v = _centred(p[i]), _centred(q[i])
        rows.append(beta * (1 - (0 if u is None or v is None else u.dot(v))) + 0 * p[i, 0])
    for c in range(classes):
        u, v = _centred(p[:, c]), _centred(q[:, c])
        for i in range(n):
            if u is None or v is None:
                # |u - v|² / 2 where both are, and 1 of what a missing one leaves over
                part = sum(w[i] ** 2 for w in (u, v) if w is not None) / 2
                part = part + ((u is None) + (v is None)) / (2 * n)
            else:
                part = (u[i] - v[i]) ** 2 / 2
            rows[i] = rows[i] + gamma * n / classes * part
    return temperature**2 * torch.stack(rows)
