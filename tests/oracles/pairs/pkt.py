"""PKT by loops over pairs of nodes."""

import torch
from torch import Tensor

from tests.oracles._shared import unit


def pkt(h_s: Tensor, h_t: Tensor):
    rows = []
    for i in range(h_s.size(0)):
        p, q = (
            torch.stack([(unit(h[i]).dot(unit(other)) + 1) / 2 for other in h]) for h in (h_s, h_t)
        )
        p, q = p / p.sum(), q / q.sum()
        rows.append((q * ((q + 1e-7) / (p + 1e-7)).log()).sum())
    return torch.stack(rows)
