"""FF-G2M, KRD and GKD the obvious way: loops over nodes and edges, nothing shared."""

import torch
from torch import Tensor


def _edges(edge_index: Tensor) -> list[tuple[int, int]]:
    """Pairs (j, i) of two nodes."""
    return [(int(j), int(i)) for j, i in edge_index.t() if int(j) != int(i)]


def _kl(q: Tensor, p: Tensor) -> Tensor:
    """KL(q ‖ p) of logits."""
    a, b = torch.softmax(p, 0), torch.softmax(q, 0)
    return (b * (b.log() - a.log())).sum()


def _rows_of_a_mean(sums: list[Tensor], weight: float, like: Tensor) -> Tensor:
    """Row values whose mean is the sum over all rows, divided by the weight."""
    if weight == 0:
        return torch.stack(sums)
    return torch.stack(sums) * (like.size(0) / weight)


def ff_g2m(
    z_s: Tensor,
    z_t: Tensor,
    edge_index: Tensor,
    *,
    low_weight: float = 1.0,
    high_weight: float = 1.0,
    low_temperature: float = 1.0,
    high_temperature: float = 1.5,
):
    edges = _edges(edge_index)
    low, high = [], []
    for i in range(z_s.size(0)):
        neighbours = [j for j, centre in edges if centre == i]
        low.append(
            sum(_kl(z_t[j] / low_temperature, z_s[i] / low_temperature) for j in [i, *neighbours])
        )
        differences = [
            _kl(
                (z_t[j] - z_t[i]).abs() / high_temperature,
                (z_s[j] - z_s[i]).abs() / high_temperature,
            )
            for j in neighbours
        ]
        high.append(sum(differences, start=z_s.new_zeros(())))
    count = len(edges)
    return low_weight * _rows_of_a_mean(
        low, count + z_s.size(0), z_s
    ) + high_weight * _rows_of_a_mean(high, count, z_s)


def krd(
    z_s: Tensor,
    z_t: Tensor,
    edge_index: Tensor,
    reliability: Tensor,
    *,
    alpha: float = 1.0,
    temperature: float = 1.0,
):
    weight = [1 - (1 - float(r)) ** alpha for r in reliability]
    sums, total = [], 0.0
    for i in range(z_s.size(0)):
        value = _kl(z_t[i] / temperature, z_s[i] / temperature)
        total += 1
        for j, centre in _edges(edge_index):
            if centre == i:
                value = value + weight[j] * _kl(z_t[j] / temperature, z_s[i] / temperature)
                total += weight[j]
        sums.append(value)
    return _rows_of_a_mean(sums, total, z_s)


def _median_gamma(h: Tensor) -> float:
    """1/(2 m²) for the lower median of the distances."""
    n = h.size(0)
    ordered = sorted(float((h[i] - h[j]).norm()) for i in range(n) for j in range(i + 1, n))
    middle = ordered[(len(ordered) - 1) // 2] if ordered else 0.0
    return 1 / (2 * middle**2) if middle > 0 else 0.5


def gkd(
    h_s: Tensor,
    h_t: Tensor,
    edge_index: Tensor,
    *,
    kernel: str = "sigmoid",
    gamma: float | str = 0.5,
    delta: float = 0.1,
):
    n = h_s.size(0)
    weight = torch.eye(n, dtype=torch.float64)
    for j, i in _edges(edge_index):
        weight[i, j] += 1
    bands = [_median_gamma(h) if gamma == "median" else gamma for h in (h_s, h_t)]
    rows = []
    for i in range(n):
        total = h_s.new_zeros(())
        for j in range(n):
            s, t = (
                (h[i].dot(h[j])).tanh()
                if kernel == "sigmoid"
                else torch.exp(-band * (h[i] - h[j]).square().sum())
                for h, band in zip((h_s, h_t), bands, strict=True)
            )
            total = total + (weight[i, j] + (1 - weight[i, j]) * delta) * (s - t) ** 2
        rows.append(total / n)
    return torch.stack(rows)
