"""Probabilistic knowledge transfer: similarities to all rows as a distribution (PKT)."""

from torch import Tensor

from graphkd._precision import full_precision
from graphkd.functional._options import check_blocked_options
from graphkd.functional._rows import matched_rows, reduce_rows, row_weights
from graphkd.ops.primitives import row_divergence

# As in the released code. It keeps the logarithm finite at the probability 0 of opposite rows.
EPSILON = 1e-7


def pkt_loss(
    h_s: Tensor,
    h_t: Tensor,
    *,
    weight: Tensor | None = None,
    index: Tensor | None = None,
    reduction: str = "mean",
    backend: str = "auto",
    chunk_size: int | None = None,
) -> Tensor:
    r"""Mean divergence between the rows of similarities, each row divided by its sum.

    Replaces ``(q * ((q + 1e-7) / (p + 1e-7)).log()).sum(1).mean()`` with ``a = (cosine + 1) / 2``,
    ``p = a / a.sum(1, keepdim=True)`` and the teacher's ``q``, without the :math:`N \times N`
    matrices and the loss of digits.

    .. math::
        a_{ij} = \frac{\cos(h_i, h_j) + 1}{2}, \qquad p_{ij} = \frac{a_{ij}}{\sum_k a_{ik}}, \qquad
        L = \frac1N \sum_{i,j} p^t_{ij} \log \frac{p^t_{ij} + 10^{-7}}{p^s_{ij} + 10^{-7}}

    The diagonal is part of a row. The widths may differ. A zero row has the cosine 0 to all rows.
    Because of the epsilon, a student with opposite rows has a finite loss. Near convergence it may
    make the value negative, by about 1e-7 N times the relative difference of the similarities. The
    value is exactly 0 for a student equal to its teacher. The cost is :math:`O(N^2 d)`, memory is
    linear in N.

    Args:
        h_s: Student embeddings.
        h_t: Teacher embeddings; they get no gradient.
        weight: A weight for each row i, not negative, before ``index``; it does not weigh the
            partners of i. The mean divides by the weights' sum. It gets a gradient if it requires
            one.
        index: Boolean mask or row numbers of the rows that take part.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each row's divergence).
        backend: ``"auto"``, ``"reference"`` (dense) or ``"chunked"`` (linear memory).
        chunk_size: Side of the chunked backend's square tiles; changes memory, not the value.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **weight:** :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If row counts or devices differ, an input is not two-dimensional, ``weight`` is
            negative, or an option is out of range.
        TypeError: If an input is not a floating-point tensor.
        IndexError: If ``index`` names a row that does not exist.

    Source: Passalis and Tefas, ECCV 2018, arXiv 1803.10837. The authors' code takes the mean over
    all N² entries: its value is this one divided by N. The epsilon is theirs. Their code also adds
    1e-7 to the norms, and sets rows of NaN to 0.

    Example:
        >>> import torch
        >>> from graphkd.functional import pkt_loss
        >>> h_t = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> pkt_loss(torch.ones(2, 3), h_t)     # (2/3, 1/3) against (1/2, 1/2)
        tensor(0.0566)
    """
    loss = "pkt_loss"
    check_blocked_options(loss, reduction=reduction, backend=backend, chunk_size=chunk_size)
    s, t, chosen = matched_rows(loss, h_s, h_t, index)
    weight = row_weights(loss, weight, h_s, chosen)
    with full_precision(s.device):
        rows = row_divergence(loss, s, t, EPSILON, backend, chunk_size)
        return reduce_rows(rows, reduction, weight)
