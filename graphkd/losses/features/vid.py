"""The likelihood of the teacher's rows given the student's: VID."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from graphkd._checks import check_count, check_positive
from graphkd.functional._rows import row_weights
from graphkd.functional.features.vid import check_vid_options, vid_loss
from graphkd.heads import HEADS, HeadSpec, ProjectionHead, student_head
from graphkd.losses._base import ProjectedLoss


class VIDLoss(ProjectedLoss):
    r"""Variational information distillation (VID): the likelihood of the teacher given the student.

    Its head and variances learn: hand ``loss.parameters()`` to the optimiser with the student's.

    .. math:: L = \tfrac12\, \mathrm{mean}_{i,k} [(\mu(h^s_i)_k - h^t_{ik})^2 / v_k + \log v_k]

    with a regression :math:`\mu` of the teacher's row on the student's, and a variance v for each
    of the teacher's features: a feature that the student cannot predict weighs less. Regressor and
    variances are those of the released code.

    :func:`graphkd.functional.vid_loss` explains the terms, and names errors and source. The
    Module adds ValueError for wrong widths and for one row with BatchNorm in training mode,
    TypeError for missing edges, and IndexError for an edge to a row that does not exist.

    Args:
        dim_s: The student's width.
        dim_t: The teacher's width.
        init_pred_var: The variance to begin with, above ``eps``.
        eps: The floor of all variances.
        head: The student's head: ``"regressor"`` (three linear layers without bias, ReLU between
            them), ``"linear"``, ``"mlp"``, ``"gcn"`` or ``"identity"``; or a pair of modules
            (student's, teacher's), where the teacher's gets no gradient.
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
        >>> from graphkd import VIDLoss
        >>> loss = VIDLoss(2, 2, init_pred_var=1.0, head="identity")
        >>> loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 0.0]])).item()
        1.0
    """

    eps: float
    reduction: str
    _check_options = staticmethod(check_vid_options)

    def __init__(
        self,
        dim_s: int,
        dim_t: int,
        *,
        init_pred_var: float = 5.0,
        eps: float = 1e-5,
        head: HeadSpec = "regressor",
        head_takes_edges: bool = False,
        reduction: str = "mean",
    ) -> None:
        loss = type(self).__name__
        check_positive(f"{loss}: init_pred_var", init_pred_var)
        if head == "regressor":
            for name, width in {"dim_s": dim_s, "dim_t": dim_t}.items():
                check_count(f"{loss}: {name}", width, least=1)
            pair: tuple[nn.Module, nn.Module] = (
                _regressor(dim_s, dim_t),
                ProjectionHead("identity", dim_t, dim_t),
            )
        else:
            pair = student_head(loss, head, dim_s, dim_t, ("regressor", *HEADS))
        takes_edges = head_takes_edges or head == "gcn"
        super().__init__(dim_s, dim_t, dim_t, pair, takes_edges, eps=eps, reduction=reduction)
        if init_pred_var <= eps:
            raise ValueError(
                f"{loss}: init_pred_var must be above eps, the least variance; got "
                f"{init_pred_var!r} and {eps!r}. Lower eps."
            )
        self.init_pred_var = init_pred_var
        # log(exp(x) - 1) of the variance above eps, without overflow
        above = init_pred_var - eps
        self._first = above + math.log(-math.expm1(-above))
        self.alpha = nn.Parameter(torch.full((dim_t,), self._first))

    def reset_parameters(self) -> None:
        """Draw the head's parameters anew, and set the variances to their first value."""
        super().reset_parameters()
        nn.init.constant_(self.alpha, self._first)

    def extra_repr(self) -> str:
        """The widths and options, for ``repr``."""
        return f"{super().extra_repr()}, init_pred_var={self.init_pred_var!r}"

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
        return vid_loss(s, t, self.alpha, weight=weight, **self.options)


def _regressor(dim_s: int, dim_t: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(dim_s, dim_t, bias=False),
        nn.ReLU(),
        nn.Linear(dim_t, dim_t, bias=False),
        nn.ReLU(),
        nn.Linear(dim_t, dim_t, bias=False),
    )
