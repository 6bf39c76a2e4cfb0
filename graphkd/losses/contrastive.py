"""Contrastive losses: G-CRD."""

from typing import Any

import torch
from torch import Tensor

from graphkd.functional.contrastive import check_gcrd_options, contrast
from graphkd.heads import HeadSpec
from graphkd.losses._base import ProjectedLoss


class GCRDLoss(ProjectedLoss):
    r"""Graph contrastive representation distillation (G-CRD).

    Its heads learn: hand ``loss.parameters()`` to the optimiser with the student's.

    .. math::
        L = \frac1N \sum_i -\log \frac{\exp(\cos(p_i, q_i)/\tau)}{\sum_j \exp(\cos(p_i, q_j)/\tau)}

    with the projected student rows p and teacher rows q. Both heads learn; the teacher itself gets
    no gradient. All N rows are negatives, in linear memory: see
    :func:`graphkd.functional.gcrd_loss`.

    Args:
        dim_s: The student's width.
        dim_t: The teacher's width.
        proj_dim: The width that both are projected to.
        temperature: :math:`\tau`, without a unit; the paper uses 0.05 to 0.1.
        head: ``"linear"``; ``"mlp"``: Linear, BatchNorm, ReLU, as in the paper; ``"gcn"``: a
            GCNConv in place of the Linear (``edge_index`` is then needed); ``"identity"``; or a
            pair of modules (student's, teacher's) that end in one width.
        head_takes_edges: Whether the user's pair is called with ``edge_index`` too. Such heads see
            the whole graph, and ``index`` selects after them; others see the selected rows only.
        symmetric: Average with the loss whose anchors are the teacher's rows.
        max_samples: Draw at most this many rows anew in each call, without replacement.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value per row).
        backend: ``"auto"``, ``"reference"``, ``"chunked"`` or ``"triton"``.
        chunk_size: Rows of a tile of the chunked backend.
        precision: Of the triton backend's products: ``"float32"``, ``"tf32"`` or ``"bf16"``.

    Shapes:
        - **h_s:** :math:`[N, dim_s]`
        - **h_t:** :math:`[N, dim_t]`
        - **edge_index:** :math:`[2, E]`, for heads that take edges
        - **index:** :math:`[M]`, or a mask :math:`[N]`
        - **extra_keys:** :math:`[K, proj\_dim]`: projected teacher rows, further negatives
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If an option is out of range, or embeddings do not have the given widths, equal
            row counts and one device; for one row with BatchNorm in training mode.
        TypeError: If embeddings are not floating-point tensors, or a graph is needed and missing.
        IndexError: If ``index`` or an edge names a row that does not exist.
        ImportError: If ``backend="triton"`` and triton is not installed.

    Source: Joshi et al., TNNLS 2022, arXiv 2111.04964.

    Example:
        >>> import torch
        >>> from graphkd import GCRDLoss
        >>> loss = GCRDLoss(3, 3, head="identity", temperature=1.0)
        >>> loss(torch.eye(3), torch.eye(3))     # log(1 + 2/e)
        tensor(0.5514)
    """

    def __init__(
        self,
        dim_s: int,
        dim_t: int,
        proj_dim: int = 256,
        *,
        temperature: float = 0.075,
        head: HeadSpec = "mlp",
        head_takes_edges: bool = False,
        symmetric: bool = False,
        max_samples: int | None = None,
        reduction: str = "mean",
        backend: str = "auto",
        chunk_size: int | None = None,
        precision: str = "float32",
    ) -> None:
        options: dict[str, Any] = {
            "temperature": temperature,
            "max_samples": max_samples,
            "reduction": reduction,
            "backend": backend,
            "chunk_size": chunk_size,
            "precision": precision,
        }
        check_gcrd_options(type(self).__name__, **options)
        super().__init__(
            dim_s, dim_t, proj_dim, head, head_takes_edges, symmetric=symmetric, **options
        )

    def forward(
        self,
        h_s: Tensor,
        h_t: Tensor,
        edge_index: Any = None,
        *,
        index: Tensor | None = None,
        extra_keys: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        p, q = self.projected(h_s, h_t, edge_index, index)
        return contrast(
            p, q, index=None, extra_keys=extra_keys, generator=generator, **self.options
        )
