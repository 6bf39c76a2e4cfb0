"""The signs of the teacher's pre-activations: activation boundaries."""

from typing import Any

from torch import Tensor

from graphkd.functional.features.activation_boundaries import ab_loss, check_ab_options
from graphkd.heads import HeadSpec
from graphkd.losses._base import ProjectedLoss


class ABLoss(ProjectedLoss):
    r"""Activation boundaries: the student's neurons fire where the teacher's do.

    Its head learns: hand ``loss.parameters()`` to the optimiser with the student's.

    .. math::
        L = \frac1N \sum_i \sum_k \begin{cases}
            \max(0, m - p_{ik})^2 & h^t_{ik} > 0 \\
            \max(0, m + p_{ik})^2 & h^t_{ik} \le 0 \end{cases}

    with the student's pre-activations p projected to the teacher's width. Both are to be taken
    before the activation. See :func:`graphkd.functional.ab_loss`.

    Args:
        dim_s: The student's width.
        dim_t: The teacher's width.
        margin: How far beyond the boundary the student has to go.
        head: The student's head: ``"linear"`` or ``"identity"``; or a pair of modules (student's,
            teacher's), of which the teacher's gets no gradient. ``"mlp"`` and ``"gcn"`` end in a
            ReLU, whose output is never negative, and are refused.
        head_takes_edges: Whether the user's pair is called with ``edge_index`` too.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each row's sum over the width).

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

    Source: Heo, Lee, Yun and Choi, AAAI 2019, arXiv 1811.03233. The released head is a linear map
    without bias and BatchNorm, which a pair reproduces.

    Example:
        >>> import torch
        >>> from graphkd import ABLoss
        >>> loss = ABLoss(3, 3, head="identity")
        >>> loss(torch.tensor([[3.0, 0.5, 0.5]]), torch.tensor([[0.1, 0.1, -0.1]]))
        tensor(2.5000)
    """

    margin: float
    reduction: str
    check_options = staticmethod(check_ab_options)
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
        index: Tensor | None = None,
    ) -> Tensor:
        """The loss of student pre-activations against the teacher's."""
        s, t, _ = self.projected(h_s, h_t, edge_index, index)
        return ab_loss(s, t, **self.options)
