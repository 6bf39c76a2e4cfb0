"""Correlations of all pairs of nodes by a truncated Gaussian kernel (CCKD)."""

from torch import Tensor

from graphkd.functional.pairs.correlation_congruence import (
    check_congruence_options,
    correlation_congruence_loss,
)
from graphkd.losses._base import DistillationLoss


class CorrelationCongruenceLoss(DistillationLoss):
    r"""Correlation congruence (CCKD): mean squared difference of all pairwise correlations.

    .. math::
        k(c) = e^{-2\gamma} \sum_{p=0}^{P} \frac{(2\gamma)^p}{p!}\, c^p, \qquad
        L = \frac1{N^2} \sum_{i,j} \left(k(\cos(h^s_i, h^s_j)) - k(\cos(h^t_i, h^t_j))\right)^2

    It has no parameters and needs no head: the widths may differ. Memory is linear in N. See
    :func:`graphkd.functional.correlation_congruence_loss`.

    Args:
        gamma: :math:`\gamma`, of the Gaussian kernel.
        order: P, the highest power of its expansion.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each row's mean over all j).
        backend: ``"auto"``, ``"reference"`` or ``"chunked"``.
        chunk_size: Side of the chunked backend's square tiles.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **index:** :math:`[M]`, or a mask :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If an option is out of range, or row counts, shapes or devices do not fit.
        TypeError: If embeddings are not floating-point tensors, or an option is not a number.
        IndexError: If ``index`` names a row that does not exist.

    Source: Peng, Jin, Liu, Zhou, Wu, Liu, Li, Zhang and Zhang, ICCV 2019, arXiv 1904.01802.

    Example:
        >>> import torch
        >>> from graphkd import CorrelationCongruenceLoss
        >>> loss = CorrelationCongruenceLoss()
        >>> loss(torch.ones(2, 3), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        tensor(0.1266)
    """

    gamma: float
    order: int
    reduction: str
    backend: str
    chunk_size: int | None
    check_options = staticmethod(check_congruence_options)

    def __init__(
        self,
        gamma: float = 0.4,
        order: int = 2,
        *,
        reduction: str = "mean",
        backend: str = "auto",
        chunk_size: int | None = None,
    ) -> None:
        super().__init__(
            gamma=gamma, order=order, reduction=reduction, backend=backend, chunk_size=chunk_size
        )

    def forward(self, h_s: Tensor, h_t: Tensor, *, index: Tensor | None = None) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        return correlation_congruence_loss(h_s, h_t, index=index, **self.options)
