"""Heat kernels over all pairs of nodes, with joined pairs weighing more: GKD."""

from typing import Any

import torch
from torch import Tensor

from graphkd.functional.neighbours.gkd import check_gkd_options, gkd_loss
from graphkd.losses._base import DistillationLoss
from graphkd.similarity import DEFAULT_GAMMA, Gamma


class GKDLoss(DistillationLoss):
    r"""Geometric knowledge distillation (GKD): the heat kernel of the teacher's embeddings.

    .. math:: L = \operatorname{mean}_{i,j} w_{ij} \left(k(h^s_i, h^s_j) - k(h^t_i, h^t_j)\right)^2

    The weight is 1 for a pair that an edge joins and for a node with itself, and :math:`\delta` for
    all other pairs. The loss has no parameters. :func:`graphkd.functional.gkd_loss` explains the
    kernels, and gives the errors and the source.

    Args:
        kernel: k: ``"sigmoid"``, ``"rbf"``, or ``"random"`` for random features.
        gamma: Bandwidth of ``"rbf"``: a number, or ``"median"`` to take it from the distances.
        delta: :math:`\delta`, from 0 up.
        num_features: How many random features to draw; twice the width, unless given.
        reduction: ``"none"`` keeps the weighted mean over j for each centre i.
        backend, chunk_size: As in the function.

    Shapes:
        - **h_s, h_t:** :math:`[N, d_s]` and :math:`[N, d_t]`; ``"random"`` needs equal widths
        - **edge_index:** :math:`[2, E]`, or any format that :class:`graphkd.Graph` takes
        - **weight:** a weight for each centre, :math:`[N]`
        - **edge_weight:** a weight for each edge, :math:`[E]`, unless a Graph holds them
        - **index:** :math:`[M]`, or a mask over the centres
        - **output:** a scalar, or a value for each selected centre

    Example:
        >>> import torch
        >>> from graphkd import GKDLoss
        >>> h_s, h_t = torch.tensor([[1.0], [0.0], [0.0]]), torch.tensor([[1.0], [1.0], [0.0]])
        >>> GKDLoss(kernel="rbf", delta=0.0)(h_s, h_t, torch.tensor([[0, 1], [1, 0]]))
        tensor(0.0344)
    """

    kernel: str
    gamma: Gamma
    delta: float
    num_features: int | None
    reduction: str
    backend: str
    chunk_size: int | None
    _check_options = staticmethod(check_gkd_options)

    def __init__(
        self,
        *,
        kernel: str = "sigmoid",
        gamma: Gamma = DEFAULT_GAMMA,
        delta: float = 0.1,
        num_features: int | None = None,
        reduction: str = "mean",
        backend: str = "auto",
        chunk_size: int | None = None,
    ) -> None:
        super().__init__(
            kernel=kernel,
            gamma=gamma,
            delta=delta,
            num_features=num_features,
            reduction=reduction,
            backend=backend,
            chunk_size=chunk_size,
        )

    def forward(
        self,
        h_s: Tensor,
        h_t: Tensor,
        edge_index: Any,
        *,
        weight: Tensor | None = None,
        edge_weight: Tensor | None = None,
        index: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The loss of student embeddings against the teacher's on a graph."""
        return gkd_loss(
            h_s,
            h_t,
            edge_index,
            weight=weight,
            edge_weight=edge_weight,
            index=index,
            generator=generator,
            **self.options,
        )
