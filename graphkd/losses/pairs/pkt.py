"""Probabilistic knowledge transfer: similarities to all rows as a distribution (PKT)."""

from torch import Tensor

from graphkd.functional._options import check_blocked_options
from graphkd.functional.pairs.pkt import pkt_loss
from graphkd.losses._base import DistillationLoss


class PKTLoss(DistillationLoss):
    r"""Probabilistic knowledge transfer (PKT).

    .. math:: L = \operatorname{mean}_i \mathrm{KL}(p^t_i \,\Vert\, p^s_i)

    :math:`p_i` is row i of the similarities (1 + cosine) / 2, divided by its sum; 1e-7 is added in
    the logarithm. The loss has no parameters and needs no head: the widths may differ. Memory is
    linear in N. :func:`graphkd.functional.pkt_loss` gives the errors, the source, and the factor to
    the authors' value.

    Args:
        reduction: ``"none"`` keeps the divergence of each row.
        backend, chunk_size: As in the function.

    Shapes:
        - **h_s, h_t:** :math:`[N, d_s]` and :math:`[N, d_t]`
        - **weight:** a weight for each row, :math:`[N]`
        - **index:** :math:`[M]`, or a mask :math:`[N]`
        - **output:** a scalar, or a value for each selected row

    Example:
        >>> import torch
        >>> from graphkd import PKTLoss
        >>> PKTLoss()(torch.ones(2, 3), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        tensor(0.0566)
    """

    reduction: str
    backend: str
    chunk_size: int | None
    _check_options = staticmethod(check_blocked_options)

    def __init__(
        self, *, reduction: str = "mean", backend: str = "auto", chunk_size: int | None = None
    ) -> None:
        super().__init__(reduction=reduction, backend=backend, chunk_size=chunk_size)

    def forward(
        self, h_s: Tensor, h_t: Tensor, *, weight: Tensor | None = None, index: Tensor | None = None
    ) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        return pkt_loss(h_s, h_t, weight=weight, index=index, **self.options)
