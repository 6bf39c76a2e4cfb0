"""Embeddings of one width, row by row: FitNet."""

from typing import Any

from torch import Tensor

from graphkd.functional._options import check_reduction
from graphkd.functional.features.fitnet import match_rows
from graphkd.heads import HeadSpec
from graphkd.losses._base import ProjectedLoss


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

    reduction: str
    check_options = staticmethod(check_reduction)
    student_only = True

    def __init__(
        self,
        dim_s: int,
        dim_t: int,
        *,
        head: HeadSpec = "linear",
        head_takes_edges: bool = False,
        reduction: str = "mean",
    ) -> None:
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
        s, t, _ = self.projected(h_s, h_t, edge_index, index)
        return match_rows(s, t, self.reduction)
