"""Activation boundaries by loops over nodes and neurons."""

import torch
from torch import Tensor


def activation_boundaries(h_s: Tensor, h_t: Tensor, *, margin: float = 1.0) -> Tensor:
    rows = []
    for s, t in zip(h_s, h_t, strict=True):
        total = s.sum() * 0
        for k in range(s.numel()):
            wanted = 1 if t[k] > 0 else -1
            if wanted * s[k] < margin:
                total = total + (s[k] - wanted * margin) ** 2
        rows.append(total)
    return torch.stack(rows)
