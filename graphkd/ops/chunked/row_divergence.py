r"""PKT's row values in square tiles, and the gradient with them.

Replaces the divergence between the rows of two N × N matrices of similarities a (student's) and b,
each divided by its sum, A_i or B_i. With λ_ij = log(b_ij/a_ij), g(x) = exp(−x) − 1 + x and
l_i = log(B_i/A_i),

    KL_i = Σ_j b_ij g(λ_ij) / B_i − g(l_i),    b g(λ) = b log(1 + (b − a)/a) − (b − a),
    ∂KL_i/∂a_ij = 1/A_i − 1/B_i − (b_ij − a_ij)/(a_ij B_i).

The tile's terms are symmetric, non-negative and, as all of it, of the size of b − a, which comes
from the rows' differences: with d = t − s and m = (s + t)/2 of unit rows, it is ⟨d_i, m_j⟩ +
⟨m_i, d_j⟩. The sums are N + ⟨s_i, Σ s_j⟩ and the like. Similarities are kept without their ½.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from graphkd._precision import exact
from graphkd.ops._autograd import empty_gradient, fused
from graphkd.ops.chunked.pairwise import SIDE, mirrored_tiles
from graphkd.similarity import unit_and_inverse, unit_gradient


def row_divergence(x_s: Tensor, x_t: Tensor, floor: float, chunk_size: int | None) -> Tensor:
    """KL(teacher ‖ student) of row i of (cosine + 1)/2 over its sum, for every row i.

    Args:
        x_s: Student rows.
        x_t: Teacher rows, perhaps of another width; they learn nothing.
        floor: The least similarity, as which smaller ones count, but in the sums.
        chunk_size: The side of a tile.
    """
    return _row_divergence(x_s, x_t, floor, chunk_size or SIDE)


def _sweep(
    weights: Tensor | None,
    x_s: Tensor,
    x_t: Tensor,
    floor: float,
    side: int,
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
    targets = sums + changes
    rows, pull = torch.zeros_like(sums), torch.zeros_like(student) if need_s else student
    strength = (1 if weights is None else weights) / targets
    lift = strength * changes / sums
    # Rows that are nearly one another keep the digits of their differences about a centre.
    centre = student.sum(dim=0) / max(n, 1)
    u, v, total = student.to(dtype), (student - centre).to(dtype), torch.zeros_like(sums)
    here, there = (torch.cat(x, dim=1).to(dtype) for x in ((apart, middle), (middle, apart)))
    for i, j in mirrored_tiles(n, side):
        likeness, change = exact(u[i] @ u[j].T).add_(1), exact(here[i] @ there[j].T)
        lowest = torch.minimum(likeness.amin(), (likeness + change).amin())
        kept = likeness >= 2 * floor
        if float(lowest) < 2 * floor:
            goal = (likeness + change).clamp_(min=2 * floor)
            likeness = likeness.clamp_(min=2 * floor)
            change = goal - likeness
        ratio = change / likeness
        terms = ratio.log1p().mul_(likeness + change).sub_(change)
        rows[i] += terms.sum(dim=1)
        if i != j:
            rows[j] += terms.sum(dim=0)
        if need_s:
            force = (ratio * kept).mul_(strength[i, None] + strength[j])
            force -= lift[i, None] + lift[j]
            total[i] += force.sum(dim=1)
            pull[i] -= force.to(dtype) @ v[j]
            if i != j:
                total[j] += force.sum(dim=0)
                pull[j] -= force.T.to(dtype) @ v[i]
    # Rounding may leave a negative zero-sized rest.
    rows = (rows / targets + changes / targets - (changes / sums).log1p()).clamp(min=0).to(dtype)
    if not need_s:
        return rows, empty_gradient(x_s, False), empty_gradient(x_t, False)
    pull -= total[:, None] * centre
    return rows, unit_gradient(pull, student, inverse).to(dtype), empty_gradient(x_t, False)


_row_divergence = fused("row_divergence", _sweep, backend="chunked")
