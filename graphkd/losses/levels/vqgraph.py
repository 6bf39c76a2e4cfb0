"""Soft assignments of the nodes to the codes of a codebook: VQGraph."""

from typing import Any

from torch import Tensor

from graphkd.functional._rows import row_weights
from graphkd.functional.levels.vqgraph import check_vqgraph_options, vqgraph_loss
from graphkd.heads import HeadSpec
from graphkd.losses._base import ProjectedLoss


class VQGraphLoss(ProjectedLoss):
    r"""VQGraph: soft assignments to the codes of the teacher's codebook.

    Its head learns: hand ``loss.parameters()`` to the optimiser with the student's.

    .. math:: L = T^2 \operatorname{mean}_i \mathrm{KL}(p^t_i \Vert p^s_i)

    :math:`p_i` is the softmax of :math:`s(h_i, c_k)/T` over the codes :math:`c_k`, with the
    similarity s. The head projects the student's rows to the teacher's width first. The codebook
    belongs to the teacher: it is an argument of each call. A head with BatchNorm raises a
    ValueError on a single row in training mode; a head that takes edges raises a TypeError without
    them. :func:`graphkd.functional.vqgraph_loss` gives the other errors and the source.

    Args:
        dim_s: The student's width.
        dim_t: The width of the teacher and of the codes.
        temperature: T, for both sides.
        similarity: ``"l2"`` for minus the distance, or ``"cosine"``.
        head: The student's head: ``"linear"``, ``"mlp"``, ``"gcn"`` or ``"identity"``; or a pair of
            modules (student's, teacher's); the teacher's must keep its width.
        head_takes_edges: Whether the user's pair is called with ``edge_index`` too.
        reduction: ``"none"`` keeps T² times the divergence of each row.
        backend, chunk_size: As in the function.

    Shapes:
        - **h_s, h_t:** :math:`[N, dim_s]` and :math:`[N, dim_t]`
        - **codebook:** :math:`[K, dim_t]`
        - **edge_index:** :math:`[2, E]`, for heads that take edges
        - **weight:** a weight for each row, :math:`[N]`
        - **index:** :math:`[M]`, or a mask :math:`[N]`
        - **output:** a scalar, or a value for each selected row

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
    _check_options = staticmethod(check_vqgraph_options)
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
        weight: Tensor | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """The loss of student embeddings against the teacher's, over a codebook."""
        s, t, chosen = self.projected(h_s, h_t, edge_index, index)
        weight = row_weights(type(self).__name__, weight, h_s, chosen)
        return vqgraph_loss(s, t, codebook, weight=weight, **self.options)
