"""The signs of the teacher's pre-activations: activation boundaries."""

from typing import Any

from torch import Tensor

from graphkd.functional._rows import row_weights
from graphkd.functional.features.activation_boundaries import ab_loss, check_ab_options
from graphkd.heads import HeadSpec
from graphkd.losses._base import ProjectedLoss


class ABLoss(ProjectedLoss):
    r"""Activation boundaries: the student's neurons fire where the teacher's do.

    Its head learns: hand ``loss.parameters()`` to the optimiser with the student's.

    .. math:: L = \mathrm{mean}_i \sum_k \max(0, m - y_{ik}\, p_{ik})^2

    with the student's pre-activations p, projected to the teacher's width, and the sign y of the
    teacher's, 1 or -1. Take both before the activation. The authors' head is a linear map without
    bias, then BatchNorm; a pair of modules reproduces it.

    :func:`graphkd.functional.ab_loss` explains the terms, and names errors and source. The
    Module adds ValueError for wrong widths and for one row with BatchNorm in training mode,
    TypeError for missing edges, and IndexError for an edge to a row that does not exist.

    Args:
        dim_s: The student's width.
        dim_t: The teacher's width.
        margin: m, the distance from the boundary that is enough.
        head: The student's head: ``"linear"`` or ``"identity"``; or a pair of modules (student's,
            teacher's), where the teacher's gets no gradient. ``"mlp"`` and ``"gcn"`` are refused:
            they end in a ReLU, whose output is never negative.
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
        >>> from graphkd import ABLoss
        >>> loss = ABLoss(3, 3, head="identity")
        >>> loss(torch.tensor([[3.0, 0.5, 0.5]]), torch.tensor([[0.1, 0.1, -0.1]]))
        tensor(2.5000)
    """

    margin: float
    reduction: str
    _check_options = staticmethod(check_ab_options)
    student_only = True

    def __init__(
        self,
        dim_s: int,
        dim_t: int,
        *,
        margin: float = 1.0,
        head: HeadSpec = "linear",
        head_takes_edges: bool = False,
        reduction: str = "mean",
    ) -> None:
        if isinstance(head, str) and head in ("mlp", "gcn"):
            raise ValueError(
                f"{type(self).__name__}: the student's pre-activations must be able to be "
                f"negative, and a head that ends in a ReLU cannot; got head={head!r}. Use "
                "head='linear', or a pair of modules such as (Sequential(Linear, BatchNorm1d), "
                "Identity())."
            )
        super().__init__(
            dim_s, dim_t, dim_t, head, head_takes_edges, margin=margin, reduction=reduction
        )

    def forward(
        self,
        h_s: Tensor,
        h_t: Tensor,
        edge_index: Any = None,
        *,
        weight: Tensor | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """The loss of student pre-activations against the teacher's."""
        s, t, chosen = self.projected(h_s, h_t, edge_index, index)
        weight = row_weights(type(self).__name__, weight, h_s, chosen)
        return ab_loss(s, t, weight=weight, **self.options)
