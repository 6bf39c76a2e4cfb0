"""Whole graphs, clusters of nodes and paths of nodes, each with a loss: MuGSI."""

from typing import Any

from torch import Tensor

from graphkd.functional._rows import matched_rows, refuse_weight
from graphkd.functional.levels.mugsi import check_mugsi_options, levels
from graphkd.heads import HeadSpec, ProjectionHead, student_head
from graphkd.losses._base import ProjectedLoss


class MuGSILoss(ProjectedLoss):
    r"""Multi-granularity structural information (MuGSI): graphs, clusters and paths.

    .. math:: L = w_G L_{graphs} + w_C L_{clusters} + w_P L_{paths}

    Its head learns: hand ``loss.parameters()`` to the optimiser with the student's. It projects the
    student to the teacher's width for the first term only; without ``graph_weight`` there is no
    head. A head with BatchNorm raises a ValueError on a single row in training mode.

    The terms compare the directions of whole graphs, the cosines between the clusters of a graph,
    and the similarities of the first node of a path with its other nodes.
    :func:`graphkd.functional.mugsi_loss` gives their formulas, the errors and the source.

    Args:
        dim_s, dim_t: The widths of student and teacher.
        graph_weight: :math:`w_G`; 0 leaves the term and the head out.
        cluster_weight: :math:`w_C`; at 0, forward needs no ``clusters``.
        path_weight: :math:`w_P`; at 0, forward needs no ``paths``.
        head: The student's head: ``"linear"``, ``"mlp"``, ``"gcn"`` or ``"identity"``; or a pair of
            modules (student's, teacher's), which both learn.
        head_takes_edges: Whether the user's pair is called with ``edge_index`` too.
        backend, chunk_size: As in the function.

    Shapes:
        - **h_s, h_t:** :math:`[N, dim_s]` and :math:`[N, dim_t]`
        - **batch:** :math:`[N]`, the graph of each node; all in one graph, unless given
        - **clusters:** :math:`[N]`, the cluster of each node within its graph
        - **paths:** :math:`[P, k + 1]`, from :func:`graphkd.functional.random_walks`
        - **edge_index:** :math:`[2, E]`, for heads that take edges
        - **output:** a scalar

    Example:
        >>> import torch
        >>> from graphkd import MuGSILoss
        >>> h_t = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> h_s = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
        >>> loss = MuGSILoss(2, 2, head="identity", path_weight=0.0)
        >>> loss(h_s, h_t, clusters=torch.tensor([0, 1, 0]))
        tensor(1.1056)
    """

    graph_weight: float
    cluster_weight: float
    path_weight: float
    backend: str
    chunk_size: int | None
    _check_options = staticmethod(check_mugsi_options)

    def __init__(
        self,
        dim_s: int,
        dim_t: int,
        *,
        graph_weight: float = 1.0,
        cluster_weight: float = 1.0,
        path_weight: float = 1.0,
        head: HeadSpec = "linear",
        head_takes_edges: bool = False,
        backend: str = "auto",
        chunk_size: int | None = None,
    ) -> None:
        pair = student_head(type(self).__name__, head, dim_s, dim_t)
        if not graph_weight:
            pair = (
                ProjectionHead("identity", dim_s, dim_s),
                ProjectionHead("identity", dim_t, dim_t),
            )
        super().__init__(
            dim_s,
            dim_t,
            dim_t,
            pair,
            head_takes_edges or head == "gcn",
            graph_weight=graph_weight,
            cluster_weight=cluster_weight,
            path_weight=path_weight,
            backend=backend,
            chunk_size=chunk_size,
        )

    def forward(
        self,
        h_s: Tensor,
        h_t: Tensor,
        batch: Tensor | None = None,
        clusters: Tensor | None = None,
        paths: Tensor | None = None,
        edge_index: Any = None,
        *,
        weight: Tensor | None = None,
    ) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        loss, projected = type(self).__name__, None
        refuse_weight(loss, weight, "graph or path")
        if self.graph_weight:
            projected = self.projected(h_s, h_t, edge_index, None)[:2]
        rows = matched_rows(loss, h_s, h_t)[:2]
        return levels(loss, rows, projected, batch, clusters, paths, **self.options)
