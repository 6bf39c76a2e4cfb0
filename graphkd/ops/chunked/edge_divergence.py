"""LSP's row values from similarities on edges, with the gradient.

Replaces ``(q * (q.log() - p.log())).sum()`` of the softmaxes over the edges into each centre. The
gradient for a logit is known, p − q, so that autograd keeps no tensor in between.
"""

from typing import Any

from torch import Tensor

from graphkd.ops import segments
from graphkd.ops._autograd import empty_gradient, primitive
from graphkd.ops.divergence import kl_slope
from graphkd.ops.reference.edge_divergence import parts


def edge_divergence(
    student: Tensor, teacher: Tensor, dst: Tensor, count: int, divergence: str
) -> Tensor:
    """KL(q ‖ p), or Σ (q − p)², of the softmaxes of teacher and student over each centre's edges.

    Differentiable once.
    """
    return _edge_divergence(student, teacher, dst, count, divergence)


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
    """The row values, and for each of the student's logits the derivative of its centre's value."""
    rows, log_p, log_q, delta = parts(student, teacher, dst, count, divergence, segments)
    if not need_student:
        return rows, student.new_empty(0)
    apart = kl_slope(delta, log_q, log_p)
    if divergence == "kl":
        return rows, apart
    p = log_p.exp()
    pull = p * apart
    mean = segments.segment_sum(pull, dst, count).index_select(0, dst)
    return rows, (pull - p * mean).mul_(2)


def _backward(
    grad: Tensor, slope: Tensor, student: Tensor, teacher: Tensor, dst: Tensor, *rest: Any
) -> tuple[Tensor, Tensor]:
    need_student = rest[-2]
    gradient = slope * grad.index_select(0, dst) if need_student else slope.clone()
    return gradient, teacher.new_empty(0)


_edge_divergence = primitive(
    "edge_divergence", _forward, _backward, backend="chunked", fake=_fake, keeps=1
)
