"""Embeddings of one width, row by row: FitNet."""

from typing import Any

from torch import Tensor

from graphkd.functional._options import check_reduction
from graphkd.functional._rows import row_weights
from graphkd.functional.features.fitnet import match_rows
from graphkd.heads import HeadSpec
from graphkd.losses._base import ProjectedLoss


class FitNetLoss(ProjectedLoss):
    r"""FitNet: squared distance between the directions of projected student and teacher rows.

    Its head learns: hand ``loss.parameters()`` to the optimiser with the student's.

    .. math:: L = \mathrm{mean}_i\, \tfrac1d \lVert \hat p_i - \hat h^t_i \rVert^2

    with a hat for unit length, and the student rows p projected to the teacher's width d. The
    teacher's rows have no head: one that learns has a trivial optimum, where both heads map
    everything to one point. The released code trains such a head; a pair of modules reproduces it.

    :func:`graphkd.functional.fitnet_loss` explains the terms, and names errors and source. The
    Module adds ValueError for wrong widths and for one row with BatchNorm in training mode,
    TypeError for missing edges, and IndexError for an edge to a row that does not exist.

    Args:
        dim_s: The student's width.
        dim_t: The teacher's width.
        head: The student's head: ``"linear"``, ``"mlp"``, ``"gcn"`` or ``"identity"``; or a pair of
            modules (student's, teacher's), which both learn.
        head_takes_edges: Whether a pair of modules is called with ``edge_index`` too.
        reduction: As in the function.

    Shapes:
        - **h_s, h_t:** :math:`[N, dim_s]` and :math:`[N, dim_t]`
        - **edge_index:** :math:`[2, E]`, for heads that take edges
        - **weight:** a weight for each row, :math:`[N]`
        - **index:** row numbers, or a mask :math:`[N]`
        - **output:** a scalar, or a value for each selected row

    Example:
        >>> import torch
        >>> from graphkd import FitNetLoss
        >>> loss = FitNetLoss(2, 2, head="identity")
        >>> loss(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 5.0]]))
        tensor(1.)
    """

    reduction: str
    _check_options = staticmethod(check_reduction)
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
        weight: Tensor | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        s, t, chosen = self.projected(h_s, h_t, edge_index, index)
        weight = row_weights(type(self).__name__, weight, h_s, chosen)
        return match_rows(s, t, weight, self.reduction)
