"""DIST by loops over rows and classes."""

import torch
from torch import Tensor


def _centred(x: Tensor) -> tuple[Tensor, Tensor]:
    """A vector less its mean, of unit length, and the length; zeros where its entries are equal."""
    if bool((x == x[0]).all()):
        return torch.zeros_like(x), x.new_zeros(())
    gaps = x - x.sum() / len(x)
    length = gaps.dot(gaps).sqrt()
    return gaps / length, length


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
        (u, a), (v, b) = _centred(p[i]), _centred(q[i])
        rows.append(beta * (1 - a * b * u.dot(v) / (a * b + 1e-8)) + 0 * p[i, 0])
    for c in range(classes):
        (u, a), (v, b) = _centred(p[:, c]), _centred(q[:, c])
        for i in range(n):
            # |u - v|² / 2 is 1 - u.v; the epsilon's share is the same for all.
            part = (a * b * (u[i] - v[i]) ** 2 / 2 + 1e-8 / n) / (a * b + 1e-8)
            rows[i] = rows[i] + gamma * n / classes * part
    return temperature**2 * torch.stack(rows)
