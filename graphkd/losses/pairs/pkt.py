"""Probabilistic knowledge transfer: similarities to all rows as a distribution (PKT)."""

from torch import Tensor

from graphkd.functional._options import check_blocked_options
from graphkd.functional.pairs.pkt import pkt_loss
from graphkd.losses._base import DistillationLoss


class PKTLoss(DistillationLoss):
    r"""Probabilistic knowledge transfer (PKT).

    .. math::
        a_{ij} = \frac{\cos(h_i, h_j) + 1}{2}, \qquad p_{ij} = \frac{a_{ij}}{\sum_k a_{ik}}, \qquad
        L = \frac1N \sum_{i,j} p^t_{ij} \log \frac{p^t_{ij} + 10^{-7}}{p^s_{ij} + 10^{-7}}

    It has no parameters and needs no head: the widths may differ. Memory is linear in N. See
    :func:`graphkd.functional.pkt_loss`.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each row's divergence).
        backend: ``"auto"``, ``"reference"`` or ``"chunked"``.
        chunk_size: Side of the chunked backend's square tiles.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **index:** :math:`[M]`, or a mask :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If an option is out of range, or row counts, shapes or devices do not fit.
        TypeError: If embeddings are not floating-point tensors.
        IndexError: If ``index`` names a row that does not exist.

    Source: Passalis and Tefas, ECCV 2018, arXiv 1803.10837. The authors' value is this one divided
    by N; the epsilon is theirs.

    Example:
        >>> import torch
        >>> from graphkd import PKTLoss
        >>> PKTLoss()(torch.ones(2, 3), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        tensor(0.0566)
    """

    reduction: str
    backend: str
    chunk_size: int | None
    check_options = staticmethod(check_blocked_options)

    def __init__(
        self, *, reduction: str = "mean", backend: str = "auto", chunk_size: int | None = None
    ) -> None:
        super().__init__(reduction=reduction, backend=backend, chunk_size=chunk_size)

    def forward(self, h_s: Tensor, h_t: Tensor, *, index: Tensor | None = None) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        return pkt_loss(h_s, h_t, index=index, **self.options)
