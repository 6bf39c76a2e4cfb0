"""Losses on features the obvious way: loops over nodes, neurons and pairs, nothing shared."""

import torch
from torch import Tensor


def unit(x: Tensor) -> Tensor:
    return x / x.norm() if bool((x != 0).any()) else torch.zeros_like(x)


def vid(h_s: Tensor, h_t: Tensor, alpha: Tensor, *, eps: float = 1e-5) -> Tensor:
    """A Gaussian's negative log density, but for half the logarithm of 2π."""
    rows = []
    for s, t in zip(h_s, h_t, strict=True):
        total = 0.0
        for k in range(s.numel()):
            variance = (1 + alpha[k].double().exp()).log() + eps
            total = total + (s[k] - t[k]) ** 2 / (2 * variance) + variance.sqrt().log()
        rows.append(total / s.numel())
    return torch.stack(rows)


def nst(h_s: Tensor, h_t: Tensor) -> Tensor:
    """Each pair of nodes, by the mean over the neurons of the product of their two activations."""
    n = h_s.size(0)
    s, t = ([unit(column) for column in h.T] for h in (h_s, h_t))

    def together(columns: list[Tensor], i: int, j: int) -> Tensor:
        return torch.stack([column[i] * column[j] for column in columns]).mean()

    return torch.stack(
        [
            n * torch.stack([(together(s, i, j) - together(t, i, j)) ** 2 for j in range(n)]).sum()
            for i in range(n)
        ]
    )


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


def factor_transfer(h_s: Tensor, h_t: Tensor, *, p: int = 1) -> Tensor:
    gaps = [(unit(s) - unit(t)).abs() for s, t in zip(h_s, h_t, strict=True)]
    return torch.stack([gap.sum() if p == 1 else gap.dot(gap).sqrt() for gap in gaps])


def fsp(
    h_s: tuple[Tensor, Tensor], h_t: tuple[Tensor, Tensor], batch: Tensor | None = None
) -> Tensor:
    n = h_s[0].size(0)
    ids = [0] * n if batch is None else batch.tolist()
    values = []
    for graph in set(ids):
        nodes = [i for i in range(n) if ids[i] == graph]
        total = 0.0
        for k in range(h_s[0].size(1)):
            for m in range(h_s[1].size(1)):
                flows = [sum(a[i, k] * b[i, m] for i in nodes) / len(nodes) for a, b in (h_s, h_t)]
                total = total + (flows[0] - flows[1]) ** 2
        values.append(total / (h_s[0].size(1) * h_s[1].size(1)))
    return sum(values) / len(values)


def simkd(h_s: Tensor, h_t: Tensor) -> Tensor:
    pairs = zip(h_s, h_t, strict=True)
    return torch.stack(
        [sum((a - b) ** 2 for a, b in zip(s, t, strict=True)) / len(s) for s, t in pairs]
    )
