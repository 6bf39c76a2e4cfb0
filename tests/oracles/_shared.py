"""Functions of vectors and matrices that several oracles use. A zero row's unit vector is zero."""

import torch
from torch import Tensor


def unit(x: Tensor) -> Tensor:
    return x / x.norm() if bool((x != 0).any()) else torch.zeros_like(x)


def cosine(x: Tensor, y: Tensor) -> Tensor:
    """The cosine, zero if a vector is zero."""
    norms = x.norm() * y.norm()
    return x.dot(y) / norms if bool(norms > 0) else (x * 0).sum()


def similarity(x: Tensor, y: Tensor, kernel: str, gamma: float = 0.5) -> Tensor:
    if kernel == "linear":
        return x.dot(y)
    if kernel == "cosine":
        return unit(x).dot(unit(y))
    if kernel == "poly":
        return unit(x).dot(unit(y)) ** 2
    if kernel == "l2":
        return (x - y).norm()
    return torch.exp(-gamma * (x - y).dot(x - y))


def divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """KL between the softmaxes of two vectors of logits."""
    q, p = torch.softmax(teacher, 0), torch.softmax(student, 0)
    return (q * (q.log() - p.log())).sum()


def distances(h: Tensor) -> list[Tensor]:
    """The distances of all pairs of two different rows."""
    n = h.size(0)
    return [(h[i] - h[j]).norm() for i in range(n) for j in range(i + 1, n)]


def median_gamma(lengths: list[Tensor]) -> float:
    """1/(2 m²) for the lower median."""
    ordered = sorted(float(d) for d in lengths)
    middle = ordered[(len(ordered) - 1) // 2] if ordered else 0.0
    return 1 / (2 * middle**2) if middle > 0 else 0.5
