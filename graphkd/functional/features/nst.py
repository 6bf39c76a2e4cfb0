"""The activation patterns of neurons over the nodes: neuron selectivity transfer."""

from torch import Tensor

from graphkd._precision import full_precision, has_rows
from graphkd.functional._options import check_blocked_options
from graphkd.functional._rows import matched_rows, reduce_rows, row_weights
from graphkd.ops.backends import RELATIVE
from graphkd.ops.primitives import mean_pairwise_gap, moments_serve, pairwise_gap
from graphkd.similarity import KERNELS, unit_rows


def nst_loss(
    h_s: Tensor,
    h_t: Tensor,
    *,
    weight: Tensor | None = None,
    index: Tensor | None = None,
    reduction: str = "mean",
    backend: str = "auto",
    chunk_size: int | None = None,
) -> Tensor:
    r"""Squared maximum mean discrepancy of the neurons' activation patterns over the nodes.

    Replaces ``(k(p, p).mean() + k(q, q).mean() - 2 * k(p, q).mean())`` with the columns ``p`` and
    ``q`` of unit norm and ``k = lambda p, q: (p.T @ q) ** 2``, without its loss of digits.

    .. math::
        L &= \frac1{d_s^2} \sum_{k,l} \langle p_k, p_l\rangle^2
           + \frac1{d_t^2} \sum_{k,l} \langle q_k, q_l\rangle^2
           - \frac2{d_s d_t} \sum_{k,l} \langle p_k, q_l\rangle^2 \\
          &= \sum_{i,j} \left(\frac1{d_s} \sum_k p_{ik} p_{jk}
                            - \frac1{d_t} \sum_k q_{ik} q_{jk}\right)^2

    with the columns :math:`p_k` and :math:`q_k` of the student's and the teacher's embeddings,
    each divided by its norm over the nodes. The code computes the second form, which is
    :func:`global_lsp_loss` with ``kernel="linear"`` on columns of mean square :math:`1/d`. The
    value does not fall with N, and lies between 0 and 2. The widths may differ, and no head is
    needed. A neuron that is zero on all nodes has no pattern, and gets no gradient.

    Args:
        h_s: Student embeddings.
        h_t: Teacher embeddings; they get no gradient.
        weight: A weight for each row i, not negative, before ``index``; it does not weigh the
            partners of i. The mean divides by the weights' sum. It gets a gradient if it requires
            one.
        index: Boolean mask or row numbers of the rows that take part, selected before
            normalisation.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (N times node i's sum over j).
        backend: ``"auto"``, ``"reference"`` (dense), ``"chunked"`` (linear memory) or ``"triton"``
            (for GPUs), as in :func:`global_lsp_loss`.
        chunk_size: Side of the chunked backend's square tiles; it then makes no d × d moments.

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
        ImportError: If ``backend="triton"`` and triton is not installed.

    Source: Huang and Wang, 2017, arXiv 1707.01219, with the polynomial kernel of degree 2 and
    without its constant, as in the paper's experiments, and nodes instead of positions.

    Example:
        >>> import torch
        >>> from graphkd.functional import nst_loss
        >>> h_s = torch.tensor([[2.0, 1.0], [0.0, 0.0]])    # both neurons see the first node only
        >>> nst_loss(h_s, torch.tensor([[0.0], [5.0]]))
        tensor(2.0000)
    """
    loss = "nst_loss"
    check_nst_options(loss, reduction=reduction, backend=backend, chunk_size=chunk_size)
    s, t, chosen = matched_rows(loss, h_s, h_t, index)
    weight = row_weights(loss, weight, h_s, chosen)
    n = s.size(0)
    if not has_rows(s):
        return reduce_rows(s.sum(dim=1), reduction, weight)
    with full_precision(s.device):
        s, t, kernel = _patterns(s), _patterns(t), KERNELS["linear"]
        args = loss, s, t, kernel, (s.new_zeros(()), s.new_zeros(())), backend, chunk_size
        if reduction == "none" or weight is not None:
            moments = moments_serve(kernel, s, t)
            rows = pairwise_gap(*args, moments=moments, precision="float32")
            return reduce_rows(rows, reduction, weight)
        mean = mean_pairwise_gap(*args, precision="float32")
        return mean if reduction == "mean" else n * mean


def check_nst_options(loss: str, *, reduction: str, backend: str, chunk_size: int | None) -> None:
    """Raise on an option that is out of range."""
    check_blocked_options(
        loss, reduction=reduction, backend=backend, chunk_size=chunk_size, backends=RELATIVE
    )


def _patterns(h: Tensor) -> Tensor:
    """The columns scaled to a mean square of 1/d, so that a mean over pairs of nodes is the sum."""
    scaled: Tensor = unit_rows(h.T).T * (h.size(0) / h.size(1)) ** 0.5
    return scaled
