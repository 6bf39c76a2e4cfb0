"""Probabilistic knowledge transfer: similarities to all rows as a distribution (PKT)."""

import torch
from torch import Tensor

from graphkd._checks import check_pair
from graphkd._precision import full_precision, student_and_teacher, traced
from graphkd.functional._blocked import check_blocked_options
from graphkd.functional._divergence import softmax_kl
from graphkd.functional._inputs import reduce_rows, resolve_index, select_rows
from graphkd.ops import pick_backend, reference_pairs
from graphkd.ops.chunked.row_divergence import row_divergence

# Below it a similarity counts as this: antipodal rows have a similarity of 0, whose logarithm the
# divergence takes.
FLOOR = 1e-7


def pkt_loss(
    h_s: Tensor,
    h_t: Tensor,
    *,
    index: Tensor | None = None,
    reduction: str = "mean",
    backend: str = "auto",
    chunk_size: int | None = None,
) -> Tensor:
    r"""Mean divergence between the rows of similarities, each divided by its sum.

    Replaces ``F.kl_div(p_s.log(), p_t, reduction="batchmean")`` of ``a = (cosine + 1) / 2``,
    ``p = a / a.sum(1, keepdim=True)``, without the :math:`N \times N` matrices and the loss of
    digits.

    .. math::
        a_{ij} = \frac{\cos(h_i, h_j) + 1}{2}, \qquad p_{ij} = \frac{a_{ij}}{\sum_k a_{ik}}, \qquad
        L = \frac1N \sum_i \mathrm{KL}(p^t_i \,\Vert\, p^s_i)

    The diagonal is part of a row. The widths may differ. A zero row has the cosine 0 to all rows.
    A similarity below 1e-7 counts as 1e-7, so that a student with antipodal rows has a finite loss,
    and no gradient there. The cost is :math:`O(N^2 d)`, memory is linear in N.

    Args:
        h_s: Student embeddings.
        h_t: Teacher embeddings; they get no gradient.
        index: Boolean mask or row numbers of the rows that take part.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each row's divergence).
        backend: ``"auto"``, ``"reference"`` (dense) or ``"chunked"`` (linear memory).
        chunk_size: Side of the chunked backend's square tiles; changes memory, not the value.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If row counts or devices differ, an input is not two-dimensional, or an option
            is out of range.
        TypeError: If an input is not a floating-point tensor.
        IndexError: If ``index`` names a row that does not exist.

    Source: Passalis and Tefas, ECCV 2018, arXiv 1803.10837. The authors' code takes the mean over
    all N² entries: its value is this one divided by N. It adds 1e-7 to the norms, and to both
    probabilities inside of the logarithm.

    Example:
        >>> import torch
        >>> from graphkd.functional import pkt_loss
        >>> h_t = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> pkt_loss(torch.ones(2, 3), h_t)     # (2/3, 1/3) against (1/2, 1/2)
        tensor(0.0566)
    """
    loss = "pkt_loss"
    check_blocked_options(loss, reduction=reduction, backend=backend, chunk_size=chunk_size)
    check_pair(loss, h_s, h_t)
    s, t = student_and_teacher(h_s, h_t)
    chosen = resolve_index(loss, index, s)
    s, t = select_rows(loss, s, chosen), select_rows(loss, t, chosen)
    backend = pick_backend(loss, backend, s, chunk_size=chunk_size, programs=False)
    with full_precision(s.device):
        if not traced() and s.size(0) == 0:
            rows = s.sum(dim=1)
        elif backend == "reference":
            p, q = (torch.log(reference_pairs.cosine_likeness(h, FLOOR)) for h in (s, t))
            rows = softmax_kl(q, p)
        else:
            rows = row_divergence(s, t, FLOOR, chunk_size)
        return reduce_rows(rows, reduction)
