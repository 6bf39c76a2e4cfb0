"""Correlations of all pairs of nodes by a truncated Gaussian kernel (CCKD)."""

import math
from typing import Any

import torch
from torch import Tensor

from graphkd._checks import check_count, check_positive
from graphkd._precision import full_precision
from graphkd.functional._options import check_blocked_options
from graphkd.functional._rows import matched_rows, reduce_rows, row_weights
from graphkd.ops.primitives import pairwise_gap
from graphkd.similarity import SERIES


def check_congruence_options(loss: str, *, gamma: float, order: int, **blocks: Any) -> None:
    """Raise on an option that is out of range."""
    check_positive(f"{loss}: gamma", gamma)
    check_count(f"{loss}: order", order, least=1)
    check_blocked_options(loss, **blocks)


def correlation_congruence_loss(
    h_s: Tensor,
    h_t: Tensor,
    *,
    gamma: float = 0.4,
    order: int = 2,
    weight: Tensor | None = None,
    index: Tensor | None = None,
    reduction: str = "mean",
    backend: str = "auto",
    chunk_size: int | None = None,
) -> Tensor:
    r"""Mean squared difference of all pairwise correlations.

    Replaces ``F.mse_loss(k(u_s @ u_s.T), k(u_t @ u_t.T))`` for L2-normalised rows u, without the
    :math:`N \times N` matrices.

    .. math::
        k(c) = e^{-2\gamma} \sum_{p=0}^{P} \frac{(2\gamma)^p}{p!}\, c^p, \qquad
        L = \frac1{N^2} \sum_{i,j} \left(k(\cos(h^s_i, h^s_j)) - k(\cos(h^t_i, h^t_j))\right)^2

    k is the Taylor expansion of the Gaussian kernel :math:`e^{-\gamma \lVert u_i - u_j\rVert^2}`
    for unit rows. All ordered pairs count, the diagonal included. The widths may differ. Time is
    :math:`O(N^2 d)`, memory linear in N.

    Args:
        h_s: Student embeddings.
        h_t: Teacher embeddings; they get no gradient.
        gamma: :math:`\gamma` of the Gaussian kernel.
        order: P, the highest power of the expansion.
        weight: A weight for each row i, not negative, before ``index``; it does not weigh the
            partners of i. The mean divides by the weights' sum. It gets a gradient if it requires
            one.
        index: Boolean mask or row numbers of the rows that take part.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each row's mean over all j).
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
        TypeError: If an input is not a floating-point tensor, or an option not a number.
        IndexError: If ``index`` names a row that does not exist.

    Source: Peng, Jin, Liu, Zhou, Wu, Liu, Li, Zhang and Zhang, ICCV 2019, arXiv 1904.01802. The
    authors published no code of their own. A file of theirs in RepDistiller compares no pairs of
    nodes, see :doc:`/losses/pairs/index`.

    Example:
        >>> import torch
        >>> from graphkd.functional import correlation_congruence_loss
        >>> h_t = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> correlation_congruence_loss(torch.ones(2, 3), h_t)    # (0.8 + 0.32)² e^{-1.6} / 2
        tensor(0.1266)
    """
    loss = "correlation_congruence_loss"
    check_congruence_options(
        loss,
        gamma=gamma,
        order=order,
        reduction=reduction,
        backend=backend,
        chunk_size=chunk_size,
    )
    s, t, chosen = matched_rows(loss, h_s, h_t, index)
    weight = row_weights(loss, weight, h_s, chosen)
    # The constant term is the same on both sides.
    coefficients = [_coefficient(gamma, power) for power in range(1, order + 1)]
    series = torch.tensor(coefficients, dtype=s.dtype, device=s.device)
    # torch.compile cannot trace a Function that gets one tensor twice.
    both = series, series.clone()
    with full_precision(s.device):
        rows = pairwise_gap(loss, s, t, SERIES, both, backend, chunk_size)
        return reduce_rows(rows, reduction, weight)


def _coefficient(gamma: float, power: int) -> float:
    """e^{−2γ} (2γ)^p / p!; a factor alone may overflow."""
    return math.exp(power * math.log(2 * gamma) - 2 * gamma - math.lgamma(power + 1))
