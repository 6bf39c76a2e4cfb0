r"""PKT's row values in square tiles, with the gradient.

Replaces Σ_j q_ij log((q_ij + ε)/(p_ij + ε)) of two N × N matrices of similarities. Divided by their
row sums A_i and B_i, the student's matrix a gives p and the teacher's matrix b gives q. The rows of
the gap δ = q − p sum to 0. So

    value_i = Σ_j q log(1 + δ/(p + ε)) − δ,
    ∂value_i/∂a_ij = (Σ_k p_ik h_ik − h_ij)/A_i, h = (δ − ε)/(p + ε), Σ_k p h = −ε Σ_k (1 + h).

The terms are of the size of b − a, which comes from differences of rows. With d = t − s and
m = (s + t)/2 of unit rows, b − a = ⟨d_i, m_j⟩ + ⟨m_i, d_j⟩ and δ = (b − a − a (B − A)/A)/B. The row
sum A_i is N + ⟨s_i, Σ s_j⟩, and B_i likewise. Similarities omit their factor ½.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from graphkd._precision import exact
from graphkd.ops._autograd import empty_gradient, fused
from graphkd.ops.chunked.pairwise import mirrored_tiles
from graphkd.similarity import unit_and_inverse, unit_gradient


def row_divergence(x_s: Tensor, x_t: Tensor, epsilon: float, chunk_size: int | None) -> Tensor:
    """The divergence from teacher to student of (cosine + 1)/2 over its row sum, for every row i.

    Args:
        x_s: Student rows.
        x_t: Teacher rows, perhaps of another width; they get no gradient.
        epsilon: The number added to both probabilities inside the logarithm.
        chunk_size: The side of a tile.
    """
    return _row_divergence(x_s, x_t, epsilon, chunk_size or 0)


def _sweep(
    weights: Tensor | None,
    x_s: Tensor,
    x_t: Tensor,
    epsilon: float,
    chunk_size: int,
    need_s: bool,
    need_t: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    n, dtype = x_s.size(0), x_s.dtype
    (student, inverse), (target, _) = unit_and_inverse(exact(x_s)), unit_and_inverse(exact(x_t))
    missing = target.size(1) - student.size(1)
    s, t = F.pad(student, (0, max(missing, 0))), F.pad(target, (0, max(-missing, 0)))
    apart, middle = t - s, (s + t) / 2
    sums = n + student @ student.sum(dim=0)
    changes = apart @ middle.sum(dim=0) + middle @ apart.sum(dim=0)
    targets, growth = sums + changes, changes / sums
    strength = (1 if weights is None else weights) / sums
    rows, slopes, total = (torch.zeros_like(sums) for _ in range(3))
    pull = torch.zeros_like(student) if need_s else student
    # About a centre, nearly equal rows keep the digits of their differences.
    centre = student.sum(dim=0) / max(n, 1)
    centred = student - centre
    u, v = student.to(dtype), centred.to(dtype)
    here, there = (torch.cat(x, dim=1).to(dtype) for x in ((apart, middle), (middle, apart)))

    def add_rows(i: slice, likeness: Tensor, change: Tensor) -> Tensor:
        """Add a tile to the values of rows i; gives the slopes h, times the rows' weights."""
        p = likeness / sums[i, None]
        gap = (change - likeness * growth[i, None]).div_(targets[i, None])
        guarded = p + epsilon
        rows[i] += (gap / guarded).log1p_().mul_(p.add_(gap)).sub_(gap).sum(dim=1)
        slope = gap.sub_(epsilon).div_(guarded)
        slopes[i] += slope.sum(dim=1)
        return slope.mul_(strength[i, None])

    for i, j in mirrored_tiles(x_s, chunk_size):
        # Rounding may give either side less than 0, the least similarity.
        likeness = exact(u[i] @ u[j].T).add_(1).clamp_(min=0)
        change = torch.maximum(exact(here[i] @ there[j].T), -likeness)
        force = add_rows(i, likeness, change)
        # A pair counts in row i and in row j.
        force = force + (force.T if i == j else add_rows(j, likeness.T, change.T).T)
        if need_s:
            total[i] += force.sum(dim=1)
            pull[i] -= force.to(dtype) @ v[j]
            if i != j:
                total[j] += force.sum(dim=0)
                pull[j] -= force.T.to(dtype) @ v[i]
    rows = rows.to(dtype)
    if not need_s:
        return rows, empty_gradient(x_s, False), empty_gradient(x_t, False)
    # The part of the slope that is constant along a row: the rows about the centre sum to 0.
    lift = strength * epsilon * (n + slopes)
    pull -= lift @ centred + (total + n * lift + lift.sum())[:, None] * centre
    return rows, unit_gradient(pull, student, inverse).to(dtype), empty_gradient(x_t, False)


_row_divergence = fused("row_divergence", _sweep, backend="chunked")
