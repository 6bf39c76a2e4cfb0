"""Contrastive losses: G-CRD."""

from typing import Any

import torch
from torch import Tensor

from graphkd._precision import has_rows
from graphkd.distributed import refuse, reporting
from graphkd.functional._options import PairOptions
from graphkd.functional.contrast.gcrd import check_gcrd_options, checked_keys, contrast
from graphkd.functional.contrast.positives import resolve_positives
from graphkd.heads import HeadSpec
from graphkd.losses._base import ProjectedLoss
from graphkd.losses.contrast.queue import KeyQueue


class GCRDLoss(ProjectedLoss):
    r"""Graph contrastive representation distillation (G-CRD).

    Its heads learn: hand ``loss.parameters()`` to the optimiser with the student's.

    .. math::
        L = \frac1N \sum_i -\log \frac{\exp(\cos(p_i, q_i)/\tau)}{\sum_j \exp(\cos(p_i, q_j)/\tau)}

    with the projected student rows p and teacher rows q. Both heads learn; the teacher itself gets
    no gradient. All N rows are negatives, in linear memory: see
    :func:`graphkd.functional.gcrd_loss`, also for several positives (``labels``, ``positives``).

    Small batches have few negatives. With ``queue_size``, the loss keeps the projected, normalised
    and detached keys of earlier batches by node id, in buffers that ``state_dict`` holds. They are
    further negatives, but for those of nodes in the batch: so a row never has its own key as a
    negative. After the value is computed, in training mode with gradients enabled, the batch's keys
    enter: a node's new key in the place of its old one, that of a new node in the next place of a
    ring.

    Args:
        dim_s: The student's width.
        dim_t: The teacher's width.
        proj_dim: The width that both are projected to; with ``queue_size``, also that of a user's
            pair of heads.
        temperature: :math:`\tau`, without a unit; the paper uses 0.05 to 0.1.
        head: ``"linear"``; ``"mlp"``: Linear, BatchNorm, ReLU, as in the paper; ``"gcn"``: a
            GCNConv in place of the Linear (``edge_index`` is then needed); ``"identity"``; or a
            pair of modules (student's, teacher's) that end in one width.
        head_takes_edges: Whether the user's pair is called with ``edge_index`` too. Such heads see
            the whole graph, and ``index`` selects after them; others see the selected rows only.
        symmetric: Average with the loss whose anchors are the teacher's rows.
        queue_size: How many nodes' keys are kept; None: no queue. It needs ``ids``, and does not go
            with ``max_samples``, ``labels`` or ``positives``.
        max_samples: Draw at most this many rows anew in each call, without replacement.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value per row).
        backend: ``"auto"``, ``"reference"``, ``"chunked"`` or ``"triton"``.
        chunk_size: Rows of a tile of the chunked backend.
        precision: Of the triton backend's products: ``"float32"``, ``"tf32"`` or ``"bf16"``.
        process_group: A ``torch.distributed`` group, for the loss of all its ranks' rows; see
            :doc:`/distributed`. BatchNorm in the heads then takes its moments over these, too.
        ddp: Whether DistributedDataParallel is to average this loss's gradients over the ranks.

    Shapes:
        - **h_s:** :math:`[N, dim_s]`
        - **h_t:** :math:`[N, dim_t]`
        - **edge_index:** :math:`[2, E]`, for heads that take edges
        - **index:** :math:`[M]`, or a mask :math:`[N]`
        - **extra_keys:** :math:`[K, proj\_dim]`: projected teacher rows, further negatives
        - **labels:** :math:`[N]`, or **positives:** :math:`[2, P]`: further positives
        - **ids:** :math:`[N]`: the node ids of all rows, before ``index``, for ``queue_size``
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If an option is out of range, or embeddings do not have the given widths, equal
            row counts and one device; for one row with BatchNorm in training mode; if ids repeat or
            are negative.
        TypeError: If embeddings are not floating-point tensors, or a graph or ids are needed and
            missing.
        IndexError: If ``index`` or an edge names a row that does not exist.
        ImportError: If ``backend="triton"`` and triton is not installed.

    Source: Joshi et al., TNNLS 2022, arXiv 2111.04964. The queue is that of He et al., CVPR 2020,
    arXiv 1911.05722, by node id as in the memory of Tian et al., ICLR 2020, arXiv 1910.10699.

    Example:
        >>> import torch
        >>> from graphkd import GCRDLoss
        >>> loss = GCRDLoss(3, 3, head="identity", temperature=1.0)
        >>> loss(torch.eye(3), torch.eye(3))     # log(1 + 2/e)
        tensor(0.5514)
        >>> loss = GCRDLoss(3, 3, head="identity", temperature=1.0, queue_size=4)
        >>> values = [loss(torch.eye(3), torch.eye(3), ids=torch.arange(i, i + 3)) for i in (0, 3)]
        >>> values[1]     # three more negatives: log(1 + 2/e + (e + 2)/e)
        tensor(1.2446)
    """

    symmetric: bool
    temperature: float
    max_samples: int | None
    reduction: str
    backend: str
    chunk_size: int | None
    precision: str
    process_group: Any
    ddp: bool
    check_options = staticmethod(check_gcrd_options)

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
        queue_size: int | None = None,
        max_samples: int | None = None,
        reduction: str = "mean",
        backend: str = "auto",
        chunk_size: int | None = None,
        precision: str = "float32",
        process_group: Any = None,
        ddp: bool = True,
    ) -> None:
        super().__init__(
            dim_s,
            dim_t,
            proj_dim,
            head,
            head_takes_edges,
            symmetric=symmetric,
            temperature=temperature,
            max_samples=max_samples,
            reduction=reduction,
            backend=backend,
            chunk_size=chunk_size,
            precision=precision,
            process_group=process_group,
            ddp=ddp,
        )
        self.queue: KeyQueue | None = None
        if queue_size is not None:
            width = dim_t if head == "identity" else proj_dim
            self.queue = KeyQueue(type(self).__name__, queue_size, width)
        self._check_heads()

    def _check_heads(self) -> None:
        """Refuse heads and a queue that do not go with the options."""
        loss = type(self).__name__
        self.check_ranked_heads()
        remedy = "All ranks' rows are negatives already. Leave queue_size out."
        refuse(loss, self.process_group, queue_size=(self.queue is not None, remedy))
        if self.queue is not None and self.max_samples is not None:
            raise ValueError(
                f"{loss}: queue_size is for small batches, max_samples for large ones; got both. "
                "Leave one out."
            )

    def reset_parameters(self) -> None:
        """Draw the heads' parameters anew, and empty the queue."""
        super().reset_parameters()
        if self.queue is not None:
            self.queue.reset()

    def forward(
        self,
        h_s: Tensor,
        h_t: Tensor,
        edge_index: Any = None,
        *,
        index: Tensor | None = None,
        extra_keys: Tensor | None = None,
        labels: Tensor | None = None,
        positives: Tensor | None = None,
        ids: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        loss = type(self).__name__
        how = PairOptions(**{name: getattr(self, name) for name in PairOptions._fields})
        formula = self.temperature, self.symmetric
        with reporting(self.process_group):
            # Options may have been set since.
            self.check()
            self._check_heads()
        s, t, chosen = self.projected(h_s, h_t, edge_index, index)
        with reporting(self.process_group):
            several = resolve_positives(loss, labels, positives, h_s)
            if several is not None:
                several = several.select(chosen)
        if self.queue is None or not has_rows(s):
            # Without rows there is no width for keys, but for ranks, which have run their heads.
            ranked = self.process_group is not None
            more = extra_keys if ranked or has_rows(s) else None
            return contrast(s, t, several, *formula, more, generator, how)
        if several is not None:
            raise ValueError(
                f"{loss}: a queue does not know the labels of its keys, and would take a row's "
                "positives for negatives; got labels= or positives=. Leave queue_size out."
            )
        nodes = self.queue.selected_ids(ids, h_s, chosen)
        more = self.queue.others(t, nodes)
        if extra_keys is not None:
            more = torch.cat([more, checked_keys(loss, extra_keys, t)])
        value = contrast(s, t, None, *formula, more, generator, how)
        if self.training and torch.is_grad_enabled():
            self.queue.put(t, nodes)
        return value
