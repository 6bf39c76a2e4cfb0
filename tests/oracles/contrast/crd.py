"""CRD by probabilities, in loops over nodes and the bank's entries."""

import math

import torch
from torch import Tensor


def _log_z(width: int, temperature: float) -> float:
    """Simpson's rule for κ/(a + √(a² + κ²)) over κ = 0 … 1/temperature, with a = (width − 1)/2."""
    a, steps = (width - 1) / 2, 2000
    step = 1 / temperature / steps

    def ratio(k: float) -> float:
        return k / (a + math.sqrt(a * a + k * k)) if k else 0.0

    inner = sum((4 if i % 2 else 2) * ratio(i * step) for i in range(1, steps))
    return step / 3 * (ratio(0.0) + inner + ratio(steps * step))


def crd(
    h_s: Tensor,
    h_t: Tensor,
    *,
    bank_s: Tensor,
    bank_t: Tensor,
    ids: Tensor,
    temperature: float = 0.07,
    log_z: float | None = None,
) -> Tensor:
    """CRD by probabilities: P = exp(cos/τ)/Z, against K = M − 1 times the noise's 1/M."""
    nodes = bank_s.size(0)
    z = nodes * math.exp(_log_z(h_s.size(1), temperature) if log_z is None else log_z)
    noise = (nodes - 1) / nodes

    def one_way(anchors: Tensor, bank: Tensor) -> Tensor:
        rows = []
        for anchor, own in zip(anchors, ids.tolist(), strict=True):
            row = anchor.new_zeros(())
            for j, entry in enumerate(bank):
                p = torch.exp(anchor.dot(entry) / anchor.norm() / temperature) / z
                right = p / (p + noise) if j == own else noise / (p + noise)
                row = row - torch.log(right)
            rows.append(row)
        return torch.stack(rows)

    return one_way(h_s, bank_t) + one_way(h_t, bank_s)
