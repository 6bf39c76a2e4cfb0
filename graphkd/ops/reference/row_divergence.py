"""PKT's row values in their obvious form: all similarities, each row divided by its sum."""

import torch
from torch import Tensor

from graphkd.similarity import unit_rows


def row_divergence(x_s: Tensor, x_t: Tensor, epsilon: float) -> Tensor:
    """Σ_j q_ij log((q_ij + ε)/(p_ij + ε)), q the teacher's and p the student's, for every row i."""
    p, q = _cosine_shares(x_s), _cosine_shares(x_t)
    gap = q - p
    # The gaps of a row sum to 0. Without them, terms near convergence are as small as the value.
    return (q * torch.log1p(gap / (p + epsilon)) - gap).sum(dim=1)


def _cosine_shares(x: Tensor) -> Tensor:
    """(cosine + 1)/2 of every pair of rows, divided by the sum of its row."""
    x = unit_rows(x)
    likeness = (x @ x.T + 1) / 2
    # Rounding may give less than 0. Such an entry becomes 0, and keeps the gradient of any other.
    likeness = likeness + (-likeness).clamp(min=0).detach()
    return likeness / likeness.sum(dim=1, keepdim=True)
