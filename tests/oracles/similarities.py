"""SP, CKA and CRD the obvious way: loops over nodes and pairs, nothing shared with the package."""

import math

import torch
from torch import Tensor


def _gram(h: Tensor) -> list[Tensor]:
    return [torch.stack([x.dot(y) for y in h]) for x in h]


def similarity_preserving(h_s: Tensor, h_t: Tensor) -> Tensor:
    def unit(row: Tensor) -> Tensor:
        return row / row.norm() if bool((row != 0).any()) else torch.zeros_like(row)

    n = h_s.size(0)
    pairs = zip(_gram(h_s), _gram(h_t), strict=True)
    return torch.stack([((unit(a) - unit(b)) ** 2).sum() / n for a, b in pairs])


def cka(h_s: Tensor, h_t: Tensor, *, debiased: bool = False) -> Tensor:
    """By the centred matrices K and L: 1 − Σ K L/(‖K‖ ‖L‖), split as ½ Σ (K/‖K‖ − L/‖L‖)²."""
    n = h_s.size(0)

    def centred(h: Tensor) -> Tensor:
        gram = torch.stack(_gram(h))
        middle = torch.eye(n, dtype=h.dtype) - 1 / n
        kernel = middle @ gram @ middle
        return kernel / kernel.norm()

    def without_diagonal(h: Tensor) -> Tensor:
        gram = torch.stack(_gram(h)) * (1 - torch.eye(n, dtype=h.dtype))
        sums, total = gram.sum(dim=1), gram.sum() / ((n - 1) * (n - 2))
        rows = []
        for i in range(n):
            entries = [gram[i, j] - (sums[i] + sums[j]) / (n - 2) + total for j in range(n)]
            entries[i] = h.new_zeros(())
            rows.append(torch.stack(entries))
        kernel = torch.stack(rows)
        return kernel / kernel.norm()

    align = without_diagonal if debiased else centred
    gap = align(h_s) - align(h_t)
    return torch.stack([(row**2).sum() for row in gap]) * n / 2


def _log_z(width: int, temperature: float) -> float:
    """By Simpson's rule for κ/(a + √(a² + κ²)) over κ = 0 … 1/temperature, a = (width − 1)/2."""
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
    """By probabilities: P = exp(cos/τ)/Z, against K = M − 1 times the noise's 1/M."""
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
