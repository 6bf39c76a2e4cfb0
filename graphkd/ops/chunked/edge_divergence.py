"""LSP's row values from similarities on edges, with the gradient.

Replaces ``(q * (q.log() - p.log())).sum()`` of the softmaxes over the edges into each centre. The
gradient for a logit is known, p − q, so that autograd keeps no tensor in between.
"""

from typing import Any

from torch import Tensor

from graphkd.ops import segments
from graphkd.ops._autograd import empty_gradient, primitive
from graphkd.ops.divergence import kl_slope
from graphkd.ops.reference.edge_divergence import Parts, parts, weight_slope


def edge_divergence(
    student: Tensor,
    teacher: Tensor,
    weight: Tensor | None,
    dst: Tensor,
    count: int,
    divergence: str,
) -> Tensor:
    """KL(q ‖ p), or Σ (q − p)², of the softmaxes of teacher and student over each centre's edges.

    Differentiable once, by the student's values and the weights.
    """
    given = student.new_empty(0) if weight is None else weight
    return _edge_divergence(student, given, teacher, dst, count, divergence)


def _fake(
    student: Tensor, weight: Tensor, teacher: Tensor, dst: Tensor, count: int, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    need_student, need_weight = rest[-2:]
    slopes = empty_gradient(student, need_student), empty_gradient(weight, need_weight)
    return student.new_empty(count), *slopes


def _forward(
    student: Tensor,
    weight: Tensor,
    teacher: Tensor,
    dst: Tensor,
    count: int,
    divergence: str,
    need_student: bool,
    need_weight: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The row values, and the derivatives of a centre's value by its edges' values and weights.

    The student's values are logits; no numbers in place of the weights stand for ones.
    """
    weights = weight if weight.numel() else None
    found = parts(student, teacher, weights, dst, count, divergence, segments)
    pull, slope = student.new_empty(0), weight.new_empty(0)
    if need_student:
        pull = _logit_slope(found, dst, count, divergence)
    if need_weight:
        slope = weight_slope(student, teacher, weight, dst, count, divergence, found)
    return found.rows, pull, slope


def _logit_slope(found: Parts, dst: Tensor, count: int, divergence: str) -> Tensor:
    """For each of the student's logits the derivative of its centre's value."""
    apart = kl_slope(found.delta, found.log_q, found.log_p)
    if divergence == "kl":
        return apart
    p = found.log_p.exp()
    pull = p * apart
    mean = segments.segment_sum(pull, dst, count).index_select(0, dst)
    return (pull - p * mean).mul_(2)


def _backward(
    grad: Tensor,
    pull: Tensor,
    slope: Tensor,
    student: Tensor,
    weight: Tensor,
    teacher: Tensor,
    dst: Tensor,
    *rest: Any,
) -> tuple[Tensor, Tensor]:
    each = grad.index_select(0, dst)
    need_student, need_weight = rest[-2:]
    return (
        pull * each if need_student else pull.clone(),
        slope * each.to(slope.dtype) if need_weight else slope.clone(),
    )


_edge_divergence = primitive(
    "edge_divergence", _forward, _backward, backend="chunked", fake=_fake, keeps=2
)
