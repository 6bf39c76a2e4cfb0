"""How strongly each node is activated: attention transfer."""

from torch import Tensor

from graphkd.functional._options import check_reduction
from graphkd.functional.features.attention_transfer import attention_transfer_loss
from graphkd.losses._base import DistillationLoss


class AttentionTransferLoss(DistillationLoss):
    r"""Attention transfer: each node is as active as in the teacher, relative to its graph.

    .. math:: L = \mathrm{mean}_i\, (\hat a^s_i - \hat a^t_i)^2, \qquad a_i = \lVert h_i \rVert^2

    with :math:`\hat a`, the attention a divided by its norm over the nodes of a graph. It has no
    parameters. :func:`graphkd.functional.attention_transfer_loss` explains the terms, and names
    errors and source.

    Args:
        reduction: As in the function.

    Shapes:
        - **h_s, h_t:** :math:`[N, d_s]` and :math:`[N, d_t]`
        - **batch:** the graph of each node, :math:`[N]`
        - **weight:** a weight for each row, :math:`[N]`
        - **index:** row numbers, or a mask :math:`[N]`
        - **output:** a scalar, or a value for each selected node

    Example:
        >>> import torch
        >>> from graphkd import AttentionTransferLoss
        >>> loss = AttentionTransferLoss(reduction="none")
        >>> loss(torch.tensor([[3.0], [4.0]]), torch.ones(2, 5))
        tensor([0.0470, 0.0270])
    """

    reduction: str
    _check_options = staticmethod(check_reduction)

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)

    def forward(
        self,
        h_s: Tensor,
        h_t: Tensor,
        batch: Tensor | None = None,
        *,
        weight: Tensor | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        return attention_transfer_loss(h_s, h_t, batch, weight=weight, index=index, **self.options)
