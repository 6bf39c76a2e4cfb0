"""How strongly each node is activated: attention transfer."""

from torch import Tensor

from graphkd.functional._options import check_reduction
from graphkd.functional.features.attention_transfer import attention_transfer_loss
from graphkd.losses._base import DistillationLoss


class AttentionTransferLoss(DistillationLoss):
    r"""Attention transfer: mean squared difference of the nodes' normalised attention.

    .. math::
        a_i = \sum_k h_{ik}^2, \qquad
        L = \frac1N \sum_i \left(\frac{a^s_i}{\lVert a^s_{g(i)}\rVert_2}
                               - \frac{a^t_i}{\lVert a^t_{g(i)}\rVert_2}\right)^2

    The value falls as 1/N for a single graph, as the released code's does; ``reduction="sum"`` does
    not. It has no parameters. See :func:`graphkd.functional.attention_transfer_loss`.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each node's squared difference).

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **batch:** :math:`[N]`, the graph of each node
        - **index:** :math:`[M]`, or a mask :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If row counts or devices differ, shapes are wrong, or an option is out of range.
        TypeError: If an input is not a floating-point tensor, or ``batch`` not an integer one.
        IndexError: If ``index`` names a row that does not exist.

    Source: Zagoruyko and Komodakis, 2017, arXiv 1612.03928; on nodes as by Joshi et al., 2022.

    Example:
        >>> import torch
        >>> from graphkd import AttentionTransferLoss
        >>> h_s, h_t = torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0, 3.0], [4.0, 0.0]])
        >>> AttentionTransferLoss()(h_s, h_t)
        tensor(0.5097)
    """

    reduction: str
    check_options = staticmethod(check_reduction)

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)

    def forward(
        self,
        h_s: Tensor,
        h_t: Tensor,
        batch: Tensor | None = None,
        *,
        index: Tensor | None = None,
    ) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        return attention_transfer_loss(h_s, h_t, batch, index=index, **self.options)
