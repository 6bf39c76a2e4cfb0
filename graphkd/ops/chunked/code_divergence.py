"""Divergence between the soft assignments of student and teacher rows to the codes of a codebook.

Replaces ``(q * (q.log() - p.log())).sum(dim=1)`` of the N × K softmaxes over the codes. A block of
rows meets all codes, and leaves its gradient; no N × K matrix is held.
"""

from torch import Tensor

from graphkd.ops._autograd import empty_gradient, fused
from graphkd.ops._blocks import numbers, slices
from graphkd.ops.chunked.soft_rows import divergence_and_slope
from graphkd.ops.chunked.statistics import Side, centre_of, sample_step
from graphkd.ops.reference.code_divergence import SIMILARITIES

# A matrix of a block of rows and all codes has at most this many numbers. About ten are held.
_BLOCK = 2**20


def code_divergence(
    x_s: Tensor,
    x_t: Tensor,
    codes: Tensor,
    similarity: str,
    temperature: float,
    chunk_size: int | None,
) -> Tensor:
    """KL(q_i ‖ p_i) for every row i: p, q the softmax over the codes of similarity/temperature."""
    return _code_divergence(x_s, x_t, codes, similarity, temperature, chunk_size or 0)


def _sweep(
    weights: Tensor | None,
    x_s: Tensor,
    x_t: Tensor,
    codes: Tensor,
    similarity: str,
    temperature: float,
    chunk_size: int,
    need_s: bool,
    need_t: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The rows, and the student's gradient; the teacher has none."""
    kernel, sign = SIMILARITIES[similarity]
    scale = sign / temperature
    gamma = x_s.new_zeros(())
    # All distances are to codes, so that the centre is the codes' centre.
    centre = centre_of(codes[:: sample_step(codes.size(0))])
    student, teacher, book = (
        Side(kernel, x, gamma, learns=learns, centre=centre)
        for x, learns in ((x_s, need_s), (x_t, False), (codes, False))
    )
    rows, every = x_s.new_empty(x_s.size(0)), slice(0, codes.size(0))
    size = chunk_size or max(numbers(x_s.device, _BLOCK) // max(codes.size(0), 1), 16)
    for i in slices(x_s.size(0), size):
        (statistic, near), (other, _) = (x.statistic(i, book, every) for x in (student, teacher))
        value, target = kernel.value(statistic, gamma), kernel.value(other, gamma)
        # Near convergence, the digits of the difference count; and of rows far from all codes, the
        # digits beside what all codes share, which cancels.
        tops = [(x * sign).amax(dim=1, keepdim=True).mul_(sign) for x in (value, target)]
        p, q = (
            ((x - top) * scale).to(x_s.dtype) for x, top in zip((value, target), tops, strict=True)
        )
        difference = ((target - value - (tops[1] - tops[0])) * scale).to(x_s.dtype)
        rows[i], pull = divergence_and_slope(p, q, difference)
        if need_s:
            pull.mul_(scale)
            if weights is not None:
                pull.mul_(weights[i, None])
            pull = pull.to(value.dtype).mul_(kernel.slope(statistic, value, gamma))
            student.pull(pull, statistic, near, i, book, every)
    return rows, student.finished_gradient(), empty_gradient(x_t, False)


_code_divergence = fused("code_divergence", _sweep, backend="chunked")
