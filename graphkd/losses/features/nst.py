"""The activation patterns of neurons over the nodes: neuron selectivity transfer."""

from torch import Tensor

from graphkd.functional.features.nst import check_nst_options, nst_loss
from graphkd.losses._base import DistillationLoss


class NSTLoss(DistillationLoss):
    r"""Neuron selectivity transfer: match the distribution of the neurons' activation patterns.

    .. math::
        L = \sum_{i,j} \left(\frac1{d_s} \sum_k p_{ik} p_{jk}
                           - \frac1{d_t} \sum_k q_{ik} q_{jk}\right)^2

    with the student's and the teacher's columns :math:`p_k` and :math:`q_k`, each divided by its
    norm over the nodes: the squared maximum mean discrepancy of the columns under the kernel
    :math:`\langle p_k, q_l\rangle^2`. It has no parameters, and the widths may differ. See
    :func:`graphkd.functional.nst_loss`.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (N times node i's sum over j).
        backend: ``"auto"``, ``"reference"``, ``"chunked"`` or ``"triton"``.
        chunk_size: Side of the chunked backend's square tiles, in the place of d × d moments.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **index:** :math:`[M]`, or a mask :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If an option is out of range, or row counts, shapes or devices do not fit.
        TypeError: If an input is not a floating-point tensor.
        IndexError: If ``index`` names a row that does not exist.

    Source: Huang and Wang, 2017, arXiv 1707.01219.

    Example:
        >>> import torch
        >>> from graphkd import NSTLoss
        >>> h_s = torch.tensor([[2.0, 1.0], [0.0, 0.0]])
        >>> NSTLoss()(h_s, torch.tensor([[0.0], [5.0]]))
        tensor(2.0000)
    """

    reduction: str
    backend: str
    chunk_size: int | None
    check_options = staticmethod(check_nst_options)

    def __init__(
        self, *, reduction: str = "mean", backend: str = "auto", chunk_size: int | None = None
    ) -> None:
        super().__init__(reduction=reduction, backend=backend, chunk_size=chunk_size)

    def forward(self, h_s: Tensor, h_t: Tensor, *, index: Tensor | None = None) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        return nst_loss(h_s, h_t, index=index, **self.options)
