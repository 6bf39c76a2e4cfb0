"""The activation patterns of neurons over the nodes: neuron selectivity transfer."""

from torch import Tensor

from graphkd.functional.features.nst import check_nst_options, nst_loss
from graphkd.losses._base import DistillationLoss


class NSTLoss(DistillationLoss):
    r"""Neuron selectivity transfer: match the distribution of the neurons' activation patterns.

    .. math:: L = \sum_{i,j} (\mathrm{mean}_k\, p_{ik} p_{jk} - \mathrm{mean}_k\, q_{ik} q_{jk})^2

    with the student's columns :math:`p_k` and the teacher's :math:`q_k`, of unit norm over the
    nodes: the kernel of the discrepancy is :math:`\langle p_k, q_l\rangle^2`. It has no parameters.
    :func:`graphkd.functional.nst_loss` explains the terms, and names errors and source.

    Args:
        reduction, backend, chunk_size: As in the function.

    Shapes:
        - **h_s, h_t:** :math:`[N, d_s]` and :math:`[N, d_t]`
        - **weight:** a weight for each row, :math:`[N]`
        - **index:** row numbers, or a mask :math:`[N]`
        - **output:** a scalar, or a value for each selected row

    Example:
        >>> import torch
        >>> from graphkd import NSTLoss
        >>> NSTLoss(reduction="none")(torch.eye(2), torch.ones(2, 1))
        tensor([0.5000, 0.5000])
    """

    reduction: str
    backend: str
    chunk_size: int | None
    _check_options = staticmethod(check_nst_options)

    def __init__(
        self, *, reduction: str = "mean", backend: str = "auto", chunk_size: int | None = None
    ) -> None:
        super().__init__(reduction=reduction, backend=backend, chunk_size=chunk_size)

    def forward(
        self, h_s: Tensor, h_t: Tensor, *, weight: Tensor | None = None, index: Tensor | None = None
    ) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        return nst_loss(h_s, h_t, weight=weight, index=index, **self.options)
