"""Losses on the embeddings of each node: FitNet and attention transfer."""

from typing import Any

from torch import Tensor

from graphkd.functional._inputs import check_reduction
from graphkd.functional.features import attention_transfer_loss, match_rows
from graphkd.heads import HeadSpec
from graphkd.losses._base import DistillationLoss, ProjectedLoss
from graphkd.losses._student_head import student_head


class FitNetLoss(ProjectedLoss):
    r"""FitNet: mean squared error between L2-normalised embeddings.

    Its head learns: hand ``loss.parameters()`` to the optimiser with the student's.

    .. math::
        L = \frac1N \sum_i \frac1d
            \left\lVert \frac{p_i}{\lVert p_i\rVert} - \frac{h^t_i}{\lVert h^t_i\rVert}
            \right\rVert^2

    with the student rows p projected to the teacher's width d. The teacher's rows are left alone:
    a head of their own that learns has a trivial optimum, in which both heads map everything to
    one point. The released code trains one; a pair of modules as ``head`` reproduces it.

    Args:
        dim_s: The student's width.
        dim_t: The teacher's width.
        head: The student's head: ``"linear"``, ``"mlp"``, ``"gcn"`` or ``"identity"``; or a pair of
            modules (student's, teacher's), which both learn.
        head_takes_edges: Whether the user's pair is called with ``edge_index`` too.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each row's mean over the width).

    Shapes:
        - **h_s:** :math:`[N, dim_s]`
        - **h_t:** :math:`[N, dim_t]`
        - **edge_index:** :math:`[2, E]`, for heads that take edges
        - **index:** :math:`[M]`, or a mask :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If an option is out of range, or embeddings do not have the given widths, equal
            row counts and one device; for one row with BatchNorm in training mode.
        TypeError: If embeddings are not floating-point tensors, or a graph is needed and missing.
        IndexError: If ``index`` or an edge names a row that does not exist.

    Source: Romero et al., 2015, arXiv 1412.6550; normalised as by Joshi et al., 2022.

    Example:
        >>> import torch
        >>> from graphkd import FitNetLoss
        >>> loss = FitNetLoss(2, 2, head="identity")
        >>> loss(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 5.0]]))
        tensor(1.)
    """

    def __init__(
        self,
        dim_s: int,
        dim_t: int,
        *,
        head: HeadSpec = "linear",
        head_takes_edges: bool = False,
        reduction: str = "mean",
    ) -> None:
        check_reduction(type(self).__name__, reduction)
        head_takes_edges = head_takes_edges or head == "gcn"
        head = student_head(type(self).__name__, head, dim_s, dim_t)
        super().__init__(dim_s, dim_t, dim_t, head, head_takes_edges, reduction=reduction)

    def forward(
        self,
        h_s: Tensor,
        h_t: Tensor,
        edge_index: Any = None,
        *,
        index: Tensor | None = None,
    ) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        p, q, _ = self.projected(h_s, h_t, edge_index, index)
        return match_rows(p, q, index=None, **self.options)


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

    def __init__(self, *, reduction: str = "mean") -> None:
        check_reduction(type(self).__name__, reduction)
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
