"""Divergence between student and teacher over the edges into each centre, from their logits."""

from types import ModuleType
from typing import Any

from torch import Tensor

from graphkd.ops import segments
from graphkd.ops._autograd import empty_gradient, primitive
from graphkd.ops.divergence import kl_slope, kl_terms, log_ratio


def edge_divergence(
    student: Tensor,
    teacher: Tensor,
    dst: Tensor,
    count: int,
    divergence: str,
    softmax: ModuleType = segments,
) -> Tensor:
    """KL(q ‖ p), or Σ (q − p)², of the softmaxes of teacher and student over each centre's edges.

    Differentiable to any order.
    """
    return _parts(student, teacher, dst, count, divergence, softmax)[0]


def _parts(
    student: Tensor,
    teacher: Tensor,
    dst: Tensor,
    count: int,
    divergence: str,
    softmax: ModuleType,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """The row values, log p, log q, and for KL their accurate difference."""
    log_p, log_q = (softmax.segment_log_softmax(x, dst, count) for x in (student, teacher))
    delta = None
    if divergence == "kl":
        delta = log_ratio(
            teacher - student,
            log_p,
            total=lambda x: softmax.segment_sum(x, dst, count).index_select(0, dst),
            largest=lambda x: segments.segment_max(x, dst, count).index_select(0, dst),
        )
        terms = kl_terms(delta, log_q, log_p)
    else:
        terms = (log_q.exp() - log_p.exp()).square()
    return softmax.segment_sum(terms, dst, count), log_p, log_q, delta


def _fake(
    student: Tensor, teacher: Tensor, dst: Tensor, count: int, *rest: Any
) -> tuple[Tensor, Tensor]:
    return student.new_empty(count), empty_gradient(student, rest[-2])


def _forward(
    student: Tensor,
    teacher: Tensor,
    dst: Tensor,
    count: int,
    divergence: str,
    need_student: bool,
    need_teacher: bool,
) -> tuple[Tensor, Tensor]:
    """The row values, and the derivative of its centre's value for each of the student's logits."""
    rows, log_p, log_q, delta = _parts(student, teacher, dst, count, divergence, segments)
    if not need_student:
        return rows, student.new_empty(0)
    if delta is not None:
        return rows, kl_slope(delta, log_q, log_p)
    p = log_p.exp()
    pull = p * (p - log_q.exp())
    mean = segments.segment_sum(pull, dst, count).index_select(0, dst)
    return rows, (pull - p * mean).mul_(2)


def _backward(
    grad: Tensor, slope: Tensor, student: Tensor, teacher: Tensor, dst: Tensor, *rest: Any
) -> tuple[Tensor, Tensor]:
    need_student = rest[-2]
    gradient = slope * grad.index_select(0, dst) if need_student else slope.clone()
    return gradient, teacher.new_empty(0)


# The same, differentiable once, with the gradient made beside the value.
edge_divergence_once = primitive(
    "edge_divergence", _forward, _backward, backend="chunked", fake=_fake, keeps=1
)
