"""Soft assignments of the nodes to the codes of a codebook: VQGraph."""

from typing import Any

from torch import Tensor

from graphkd.functional.levels.vqgraph import check_vqgraph_options, vqgraph_loss
from graphkd.heads import HeadSpec
from graphkd.losses._base import ProjectedLoss


class VQGraphLoss(ProjectedLoss):
    r"""VQGraph: soft assignments to the codes of the teacher's codebook.

    Its head learns: hand ``loss.parameters()`` to the optimiser with the student's.

    .. math::
        p_{ik} = \frac{\exp(s(h_i, c_k)/T)}{\sum_l \exp(s(h_i, c_l)/T)}, \qquad
        L = \frac{T^2}{N} \sum_i \mathrm{KL}(p^t_i \,\Vert\, p^s_i)

    with the codes :math:`c_k`, the similarity :math:`s(h, c) = -\lVert h - c\rVert` or their
    cosine, and the student's rows projected to the teacher's width. The codebook is passed in each
    call: it belongs to the teacher. See :func:`graphkd.functional.vqgraph_loss`.

    Args:
        dim_s: The student's width.
        dim_t: The teacher's and the codes' width.
        temperature: T.
        similarity: ``"l2"`` or ``"cosine"``.
        head: The student's head: ``"linear"``, ``"mlp"``, ``"gcn"`` or ``"identity"``; or a pair of
            modules (student's, teacher's); the teacher's must keep its width.
        head_takes_edges: Whether the user's pair is called with ``edge_index`` too.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each row's divergence times T²).
        backend: ``"auto"``, ``"reference"`` or ``"chunked"``.
        chunk_size: Rows per block of the chunked backend.

    Shapes:
        - **h_s:** :math:`[N, dim_s]`
        - **h_t:** :math:`[N, dim_t]`
        - **codebook:** :math:`[K, dim_t]`
        - **edge_index:** :math:`[2, E]`, for heads that take edges
        - **index:** :math:`[M]`, or a mask :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If an option is out of range, or embeddings and codes do not have the given
            widths, equal row counts and one device; for one row with BatchNorm in training mode.
        TypeError: If an input is not a floating-point tensor, or a graph is needed and missing.
        IndexError: If ``index`` or an edge names a row that does not exist.

    Source: Yang, Tian, Xu et al., ICLR 2024, arXiv 2308.02117.

    Example:
        >>> import torch
        >>> from graphkd import VQGraphLoss
        >>> loss = VQGraphLoss(2, 2, head="identity", temperature=1.0)
        >>> codebook = torch.tensor([[0.0, 0.0], [4.0, 0.0]])
        >>> loss(torch.tensor([[2.0, 0.0]]), torch.tensor([[4.0, 0.0]]), codebook)
        tensor(0.6031)
    """

    temperature: float
    similarity: str
    reduction: str
    backend: str
    chunk_size: int | None
    check_options = staticmethod(check_vqgraph_options)
    student_only = True

    def __init__(
        self,
        dim_s: int,
        dim_t: int,
        *,
        temperature: float = 4.0,
        similarity: str = "l2",
        head: HeadSpec = "linear",
        head_takes_edges: bool = False,
        reduction: str = "mean",
        backend: str = "auto",
        chunk_size: int | None = None,
    ) -> None:
        super().__init__(
            dim_s,
            dim_t,
            dim_t,
            head,
            head_takes_edges,
            temperature=temperature,
            similarity=similarity,
            reduction=reduction,
            backend=backend,
            chunk_size=chunk_size,
        )

    def forward(
        self,
        h_s: Tensor,
        h_t: Tensor,
        codebook: Tensor,
        edge_index: Any = None,
        *,
        index: Tensor | None = None,
    ) -> Tensor:
        """The loss of student embeddings against the teacher's, over a codebook."""
        s, t, _ = self.projected(h_s, h_t, edge_index, index)
        return vqgraph_loss(s, t, codebook, **self.options)
