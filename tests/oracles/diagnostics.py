"""The measures of ``graphkd.diagnostics`` by their dense definitions, and the rows they share."""

import functools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from graphkd import diagnostics as D

N, K = 40, 5
EDGES = torch.randint(0, N, (2, 150), generator=torch.Generator().manual_seed(3))
EDGES = torch.cat([EDGES, EDGES[:, :9], torch.tensor([[4, 4, 7], [4, 4, 7]])], dim=1)


def spaces(n: int = N, d_s: int = 3, d_t: int = 6, seed: int = 0, zeros: bool = True):
    """Two spaces that have something in common; some rows are zero on one side or on both."""
    generator = torch.Generator().manual_seed(seed)
    h_t = torch.randn(n, d_t, generator=generator, dtype=torch.float64)
    h_s = h_t @ torch.randn(d_t, d_s, generator=generator, dtype=torch.float64)
    h_s += torch.randn(n, d_s, generator=generator, dtype=torch.float64) + 0.3
    if zeros:
        h_s[1] = h_s[3] = h_t[2] = h_t[3] = 0
    return h_s, h_t


def cosines(h: Tensor) -> np.ndarray:
    rows = h.double().tolist()
    lengths = [math.hypot(*row) or 1.0 for row in rows]
    units = [[x / length for x in row] for row, length in zip(rows, lengths, strict=True)]
    return np.array([[math.fsum(map(float.__mul__, a, b)) for b in units] for a in units])


def gram(h: Tensor) -> np.ndarray:
    h = h.double().numpy()
    return h @ h.T


def cka(h_s: Tensor, h_t: Tensor) -> float:
    n = h_s.size(0)
    centre = np.eye(n) - 1 / n
    k, l = (centre @ gram(h) @ centre for h in (h_s, h_t))  # noqa: E741
    return (k * l).sum() / math.sqrt((k * k).sum() * (l * l).sum())


def debiased_cka(h_s: Tensor, h_t: Tensor) -> float:
    def hsic(x: Tensor, y: Tensor) -> float:
        """The unbiased estimate, as it stands in the paper, with matrices N × N."""
        n, one = x.size(0), np.ones(x.size(0))
        k, l = (gram(h) * (1 - np.eye(n)) for h in (x, y))  # noqa: E741
        ends = one @ k @ one * (one @ l @ one) / ((n - 1) * (n - 2))
        return (np.trace(k @ l) + ends - 2 / (n - 2) * (one @ k @ l @ one)) / (n * (n - 3))

    return hsic(h_s, h_t) / math.sqrt(hsic(h_s, h_s) * hsic(h_t, h_t))


def procrustes(h_s: Tensor, h_t: Tensor) -> float:
    import scipy.spatial

    width = max(h_s.size(1), h_t.size(1))
    s, t = (np.pad(h.double().numpy(), ((0, 0), (0, width - h.size(1)))) for h in (h_s, h_t))
    return scipy.spatial.procrustes(t, s)[2]


def of_all_pairs(h_s: Tensor, h_t: Tensor) -> float:
    import scipy.stats

    above = np.triu_indices(h_s.size(0), 1)
    return scipy.stats.pearsonr(cosines(h_s)[above], cosines(h_t)[above])[0]


def of_edges(h_s: Tensor, h_t: Tensor, edge_index: Tensor = EDGES) -> float:
    import scipy.stats

    edges = [(j, i) for j, i in edge_index.T.tolist() if j != i]
    s, t = cosines(h_s), cosines(h_t)
    return scipy.stats.pearsonr([s[e] for e in edges], [t[e] for e in edges])[0]


def neighbours(c: np.ndarray, k: int) -> list[set[int]]:
    """Of each node; rounded cosines, so that those which should be equal are."""
    near = []
    for i, row in enumerate(c):
        others = [j for j in range(len(c)) if j != i]
        near.append(set(sorted(others, key=lambda j: (-round(row[j], 11), j))[:k]))
    return near


def overlap(h_s: Tensor, h_t: Tensor, k: int = K) -> float:
    s, t = (neighbours(cosines(h), k) for h in (h_s, h_t))
    return sum(len(a & b) for a, b in zip(s, t, strict=True)) / k / len(s)


def second_order(h_s: Tensor, h_t: Tensor, k: int = K) -> float:
    s, t = cosines(h_s), cosines(h_t)
    total = 0.0
    for i, (a, b) in enumerate(zip(neighbours(s, k), neighbours(t, k), strict=True)):
        union = sorted(a | b)
        x, y = s[i, union], t[i, union]
        lengths = np.linalg.norm(x) * np.linalg.norm(y)
        total += x @ y / lengths if lengths else 0.0
    return total / len(s)


def same_prediction(z_s: Tensor, z_t: Tensor) -> float:
    pairs = zip(z_s.tolist(), z_t.tolist(), strict=True)
    return sum(a.index(max(a)) == b.index(max(b)) for a, b in pairs) / z_s.size(0)


Oracle = Callable[[Tensor, Tensor], float]
MEASURES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Oracle]] = {
    "linear_cka": (D.linear_cka, cka),
    "debiased": (functools.partial(D.linear_cka, debiased=True), debiased_cka),
    "procrustes_disparity": (D.procrustes_disparity, procrustes),
    "global_structure_correlation": (D.global_structure_correlation, of_all_pairs),
    "local_structure_correlation": (
        functools.partial(D.local_structure_correlation, edge_index=EDGES),
        of_edges,
    ),
    "neighbour_overlap": (functools.partial(D.neighbour_overlap, k=K), overlap),
    "second_order_cosine": (functools.partial(D.second_order_cosine, k=K), second_order),
}
every = pytest.mark.parametrize("name", MEASURES)
