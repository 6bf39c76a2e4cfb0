"""Correlations of all pairs of nodes by a truncated Gaussian kernel (CCKD)."""

from torch import Tensor

from graphkd.functional.pairs.correlation_congruence import (
    check_congruence_options,
    correlation_congruence_loss,
)
from graphkd.losses._base import DistillationLoss


class CorrelationCongruenceLoss(DistillationLoss):
    r"""Correlation congruence (CCKD): correlations of all pairs of nodes, by a Gaussian kernel.

    .. math:: L = \operatorname{mean}_{i,j} \left(k(c^s_{ij}) - k(c^t_{ij})\right)^2

    c holds the cosines of all pairs of rows, and k is a truncated Taylor series of the Gaussian
    kernel. The loss has no parameters and needs no head: the widths may differ. Memory is linear
    in N. :func:`graphkd.functional.correlation_congruence_loss` gives the series, the errors and
    the source.

    Args:
        gamma: The factor of the squared distance in the exponent of the kernel.
        order: The degree of the Taylor polynomial.
        reduction: ``"none"`` keeps the mean over j for each row i.
        backend, chunk_size: As in the function.

    Shapes:
        - **h_s, h_t:** :math:`[N, d_s]` and :math:`[N, d_t]`
        - **weight:** a weight for each row, :math:`[N]`
        - **index:** :math:`[M]`, or a mask :math:`[N]`
        - **output:** a scalar, or a value for each selected row

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
    _check_options = staticmethod(check_congruence_options)

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

    def forward(
        self, h_s: Tensor, h_t: Tensor, *, weight: Tensor | None = None, index: Tensor | None = None
    ) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        return correlation_congruence_loss(h_s, h_t, weight=weight, index=index, **self.options)
