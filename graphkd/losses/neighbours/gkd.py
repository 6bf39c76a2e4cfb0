"""Heat kernels over all pairs of nodes, with joined pairs weighing more: GKD."""

from typing import Any

import torch
from torch import Tensor

from graphkd.functional.neighbours.gkd import check_gkd_options, gkd_loss
from graphkd.losses._base import DistillationLoss
from graphkd.similarity import DEFAULT_GAMMA, Gamma


class GKDLoss(DistillationLoss):
    r"""Geometric knowledge distillation (GKD): the heat kernel of the teacher's embeddings.

    .. math::
        L = \frac1{N^2} \sum_{i,j} \left(A_{ij} + (1 - A_{ij})\,\delta\right)
            \left(k(h^s_i, h^s_j) - k(h^t_i, h^t_j)\right)^2

    with the adjacency A, ones on its diagonal. It has no parameters. See
    :func:`graphkd.functional.gkd_loss`.

    Args:
        kernel: ``"sigmoid"``, ``"rbf"`` or ``"random"``.
        gamma: The rbf bandwidth, or ``"median"``.
        delta: The weight of a pair that no edge joins.
        num_features: The number of random features; default: twice the width.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value per selected centre).
        backend: ``"auto"``, ``"reference"`` or ``"chunked"``.
        chunk_size: Side of the chunked backend's square tiles, and edges per block.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`; of one width for ``kernel="random"``
        - **edge_index:** :math:`[2, E]`, or any format that :class:`graphkd.Graph` takes
        - **index:** :math:`[M]`, or a mask over the centres
        - **output:** scalar, or one value per selected centre for ``reduction="none"``

    Raises:
        ValueError: If an option is out of range, or row counts, shapes or devices do not fit.
        TypeError: If an input is not a floating-point tensor or the graph has no known format.
        IndexError: If an edge or ``index`` names a node that does not exist.

    Source: Yang, Wu and Yan, NeurIPS 2022, arXiv 2210.13014.

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
    check_options = staticmethod(check_gkd_options)

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
        index: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The loss of student embeddings against the teacher's on a graph."""
        return gkd_loss(h_s, h_t, edge_index, index=index, generator=generator, **self.options)
