"""Similarity preserving by loops over pairs of nodes."""

import torch
from torch import Tensor

from tests.oracles._shared import unit


def gram_rows(h: Tensor) -> list[Tensor]:
    return [torch.stack([x.dot(y) for y in h]) for x in h]


def similarity_preserving(h_s: Tensor, h_t: Tensor) -> Tensor:
    n = h_s.size(0)
    pairs = zip(gram_rows(h_s), gram_rows(h_t), strict=True)
    return torch.stack([((unit(a) - unit(b)) ** 2).sum() / n for a, b in pairs])
