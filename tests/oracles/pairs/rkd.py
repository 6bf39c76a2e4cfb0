"""RKD by loops over pairs and triples of nodes."""

import torch
from torch import Tensor

from tests.oracles._shared import unit


def _smooth_l1(x: Tensor) -> Tensor:
    return x * x / 2 if abs(float(x)) < 1 else x.abs() - 0.5


def rkd_distance(h_s: Tensor, h_t: Tensor):
    n = h_s.size(0)
    sides = []
    for h in (h_s, h_t):
        lengths = [
            [(h[i] - h[j]).norm() if i != j else h.new_zeros(()) for j in range(n)]
            for i in range(n)
        ]
        mean = sum(sum(row) for row in lengths) / (n * (n - 1))
        sides.append([[length / mean for length in row] for row in lengths])
    s, t = sides
    return torch.stack([sum(_smooth_l1(s[i][j] - t[i][j]) for j in range(n)) / n for i in range(n)])


def rkd_angle(h_s: Tensor, h_t: Tensor):
    n = h_s.size(0)
    rows = []
    for vertex in range(n):
        s, t = ([unit(other - h[vertex]) for other in h] for h in (h_s, h_t))
        gaps = [_smooth_l1(s[j].dot(s[k]) - t[j].dot(t[k])) for j in range(n) for k in range(n)]
        rows.append(sum(gaps) / n**2)
    return torch.stack(rows)


def rkd(h_s: Tensor, h_t: Tensor, *, distance_weight: float = 25.0, angle_weight: float = 50.0):
    return distance_weight * rkd_distance(h_s, h_t) + angle_weight * rkd_angle(h_s, h_t)
