"""LSP's row values in their obvious form: the divergence over the edges into each centre.

To try another divergence, change it here and pass ``backend="reference"``.
"""

from types import ModuleType

from torch import Tensor

from graphkd.ops import segments
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
    return parts(student, teacher, dst, count, divergence, softmax)[0]


def parts(
    student: Tensor,
    teacher: Tensor,
    dst: Tensor,
    count: int,
    divergence: str,
    softmax: ModuleType,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The row values, log p, log q, and their accurate difference."""
    log_p, log_q = (softmax.segment_log_softmax(x, dst, count) for x in (student, teacher))
    delta = log_ratio(
        teacher - student,
        log_q,
        log_p,
        total=lambda x: softmax.segment_sum(x, dst, count).index_select(0, dst),
    )
    if divergence == "kl":
        terms = kl_terms(delta, log_q, log_p)
    else:
        terms = kl_slope(delta, log_q, log_p).square()
    return softmax.segment_sum(terms, dst, count), log_p, log_q, delta
