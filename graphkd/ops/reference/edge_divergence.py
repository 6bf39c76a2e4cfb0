"""LSP's row values in their obvious form: the divergence over the edges into each centre.

To try another divergence, change it here and pass ``backend="reference"``.
"""

from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from graphkd._precision import exact
from graphkd.ops import segments
from graphkd.ops.divergence import kl_slope, kl_terms, log_ratio
from graphkd.ops.segments import segment_max, segment_sum


class Parts(NamedTuple):
    """The row values, and what they are made of: log p, log q, and their accurate difference."""

    rows: Tensor
    log_p: Tensor
    log_q: Tensor
    delta: Tensor


def edge_divergence(
    student: Tensor,
    teacher: Tensor,
    weight: Tensor | None,
    dst: Tensor,
    count: int,
    divergence: str,
    softmax: ModuleType = segments,
) -> Tensor:
    """KL(q ‖ p), or Σ (q − p)², of the softmaxes of teacher and student over each centre's edges.

    ``weight`` has a number for each edge, by which both sides' exponentials are multiplied.
    Differentiable to any order, but once for weights of 0.
    """
    found = parts(student, teacher, weight, dst, count, divergence, softmax)
    if weight is None or not weight.requires_grad:
        return found.rows
    # The logarithm of a weight of 0 gives it no gradient.
    absent = weight.masked_fill(weight != 0, 0).to(student.dtype)
    slope = weight_slope(student, teacher, weight, dst, count, divergence, found)
    return found.rows + segment_sum(absent * slope.to(absent.dtype), dst, count)


def parts(
    student: Tensor,
    teacher: Tensor,
    weight: Tensor | None,
    dst: Tensor,
    count: int,
    divergence: str,
    softmax: ModuleType,
) -> Parts:
    """The row values, and what they are made of.

    The logarithms of the weights leave the difference of the sides with all its digits.
    """
    difference = teacher - student
    if weight is not None:
        # An edge of weight 0 is none: nothing of its values may enter.
        none = weight == 0
        difference = difference.masked_fill(none, 0)
        logs = _log_shares(weight, dst, count)[0].to(student.dtype)
        student, teacher = (x.masked_fill(none, 0) + logs for x in (student, teacher))
    log_p, log_q = (softmax.segment_log_softmax(x, dst, count) for x in (student, teacher))
    delta = log_ratio(
        difference,
        log_q,
        log_p,
        total=lambda x: softmax.segment_sum(x, dst, count).index_select(0, dst),
    )
    if divergence == "kl":
        terms = kl_terms(delta, log_q, log_p)
    else:
        terms = kl_slope(delta, log_q, log_p).square()
    return Parts(softmax.segment_sum(terms, dst, count), log_p, log_q, delta)


def _log_shares(weight: Tensor, dst: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The logarithm of each weight's share of the largest into its centre, and that one's own.

    A softmax does not depend on the largest, which may be huge or tiny. The shares into a centre
    whose weights are all 0 are ones: there both sides agree, and its value is 0.
    """
    none = weight == 0
    logs = exact(weight.masked_fill(none, 1)).log().masked_fill(none, -torch.inf)
    largest = segment_max(logs, dst, count).index_select(0, dst)
    return (logs - largest).masked_fill(largest == -torch.inf, 0), largest


def weight_slope(
    student: Tensor,
    teacher: Tensor,
    weight: Tensor,
    dst: Tensor,
    count: int,
    divergence: str,
    found: Parts,
) -> Tensor:
    r"""For each weight the derivative of its centre's value; it is finite for a weight of 0.

    With :math:`q_e = w_e u_e`, :math:`p_e = w_e r_e`, :math:`\Delta_e = \log u_e - \log r_e` and
    the value L, it is :math:`u_e\,(g(\Delta_e) - L)` of the divergence, see
    :func:`~graphkd.ops.divergence.kl_terms`, and :math:`2\,(r_e - u_e)\,(p_e - q_e +
    \sum_k (q_k - p_k)\,p_k) - 2\,u_e L` of the squares.
    """
    rows, log_p, log_q, delta = found

    def total(x: Tensor) -> Tensor:
        return segment_sum(x, dst, count).index_select(0, dst)

    none = weight == 0
    shares, largest = _log_shares(weight, dst, count)
    q = log_q.exp()
    # The terms of each sum are one number, for edges of any weight but 0.
    gap = total(q * (teacher - student - delta).masked_fill(none, 0))
    level = total(q * (teacher + shares.to(q.dtype) - log_q).masked_fill(none, 0))
    delta = torch.where(none, teacher - student - gap, delta)
    log_u = teacher - level
    log_r = log_u - delta
    value = rows.index_select(0, dst)
    if divergence == "kl":
        slope = kl_terms(delta, log_u, log_r) - log_u.exp() * value
    else:
        apart = kl_slope(found.delta, log_q, log_p)
        pull = apart - total(apart * log_p.exp())
        slope = 2 * (kl_slope(delta, log_u, log_r) * pull - log_u.exp() * value)
    empty = largest == -torch.inf
    return (slope.masked_fill(empty, 0) * (-largest.masked_fill(empty, 0)).exp()).to(weight.dtype)
