"""Whole graphs, clusters of nodes and paths of nodes, each with a loss: MuGSI."""

from typing import Any

from torch import Tensor

from graphkd.functional._rows import matched_rows
from graphkd.functional.levels.mugsi import check_mugsi_options, levels
from graphkd.heads import HeadSpec, ProjectionHead, student_head
from graphkd.losses._base import ProjectedLoss


class MuGSILoss(ProjectedLoss):
    r"""Multi-granularity structural information (MuGSI): graphs, clusters and paths.

    Its head learns: hand ``loss.parameters()`` to the optimiser with the student's.

    .. math::
        L = \frac{w_G}{|G|} \sum_g \frac1d \lVert u^s_g - u^t_g\rVert^2
          + \frac{w_C}{|G|} \sum_g \frac12 \sum_{a, b \in C_g}
              \left(\cos(c^s_a, c^s_b) - \cos(c^t_a, c^t_b)\right)^2
          + \frac{w_P}{|P|} \sum_{p} \mathrm{KL}(\pi^t_p \,\Vert\, \pi^s_p)

    with :math:`u_g` the unit vector along the sum of graph g's rows, :math:`c_a` the sum of the
    rows of its cluster a, and :math:`\pi_p` the softmax of the inner products of the first node of
    path p with its other nodes. The head projects the student to the teacher's width for the
    graphs; clusters and paths compare it with itself. Without ``graph_weight`` there is no head.
    See :func:`graphkd.functional.mugsi_loss`.

    Args:
        dim_s: The student's width.
        dim_t: The teacher's width.
        graph_weight: :math:`w_G`; 0 switches the term off.
        cluster_weight: :math:`w_C`; 0 switches the term off, and ``clusters`` is not needed.
        path_weight: :math:`w_P`; 0 switches the term off, and ``paths`` is not needed.
        head: The student's head: ``"linear"``, ``"mlp"``, ``"gcn"`` or ``"identity"``; or a pair of
            modules (student's, teacher's), which both learn.
        head_takes_edges: Whether the user's pair is called with ``edge_index`` too.
        backend: ``"auto"``, ``"reference"`` or ``"chunked"``.
        chunk_size: Clusters per block of the chunked backend.

    Shapes:
        - **h_s:** :math:`[N, dim_s]`
        - **h_t:** :math:`[N, dim_t]`
        - **batch:** :math:`[N]`, the graph of each node; all are one, unless given
        - **clusters:** :math:`[N]`, the cluster of each node within its graph
        - **paths:** :math:`[P, k + 1]`, nodes of paths; see
          :func:`graphkd.functional.random_walks`
        - **edge_index:** :math:`[2, E]`, for heads that take edges
        - **output:** scalar

    Raises:
        ValueError: If an option is out of range, or row counts, widths, shapes or devices do not
            fit; for one row with BatchNorm in training mode.
        TypeError: If embeddings are not floating-point tensors, ids not integer ones, or what a
            term with a weight needs is missing.
        IndexError: If a path or an edge names a node that does not exist.

    Source: Yao, Sun, Cao, Zhang and Chen, WWW 2024, arXiv 2406.19832.

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
    check_options = staticmethod(check_mugsi_options)

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
    ) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        loss, projected = type(self).__name__, None
        if self.graph_weight:
            projected = self.projected(h_s, h_t, edge_index, None)[:2]
        rows = matched_rows(loss, h_s, h_t)[:2]
        return levels(loss, rows, projected, batch, clusters, paths, **self.options)
