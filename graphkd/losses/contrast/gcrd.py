"""Contrastive losses: G-CRD."""

from typing import Any

import torch
from torch import Tensor

from graphkd._precision import has_rows, student_and_teacher
from graphkd.distributed import check_own_buffers, refuse, reporting
from graphkd.functional._options import PairOptions
from graphkd.functional._rows import row_weights, select_rows
from graphkd.functional.contrast.gcrd import check_gcrd_options, checked_keys, contrast
from graphkd.functional.contrast.positives import resolve_positives
from graphkd.functional.contrast.targets import checked_targets, soft_targets
from graphkd.heads import HEADS, HeadSpec, changes_nothing
from graphkd.losses._base import ProjectedLoss, first_pass
from graphkd.losses.contrast.queue import KeyQueue
from graphkd.ops.reference.soft_infonce import Targets


class GCRDLoss(ProjectedLoss):
    r"""Graph contrastive representation distillation (G-CRD).

    Its heads learn: hand ``loss.parameters()`` to the optimiser with the student's.

    .. math:: L = -\mathrm{mean}_i \log \mathrm{softmax}_j (\cos(p_i, q_j)/\tau) \big|_{j=i}

    with the projected student rows p and teacher rows q. The teacher itself gets no gradient. A row
    may have several positives (``labels``, ``positives``).

    Small batches have few negatives. With ``queue_size``, the loss keeps the projected, normalised
    and detached keys of earlier batches by node id, in buffers that ``state_dict`` holds. They are
    further negatives, except the keys of nodes in the batch: so a row never has its own key as a
    negative. After the value is computed, in training mode with gradients enabled, the batch's keys
    enter: a node's new key replaces its old one, and the key of a new node takes the next place of
    a ring. The queue follows He et al., CVPR 2020, arXiv 1911.05722, by node id as in the memory of
    Tian et al., ICLR 2020, arXiv 1910.10699.

    :func:`graphkd.functional.gcrd_loss` explains the terms, and names errors and source. The
    Module adds ValueError for wrong widths, for one row with BatchNorm in training mode, and for
    ids that repeat or are negative, TypeError for missing edges or ids, and IndexError for an edge
    to a row that does not exist.

    Args:
        dim_s: The student's width.
        dim_t: The teacher's width.
        proj_dim: The width of the projected rows; ``"student"`` and ``"identity"`` have no use for
            it. With ``queue_size``, a pair of modules must end in it.
        temperature: The divisor :math:`\tau` of the cosines. If it is a Parameter, such as
            ``torch.nn.Parameter(torch.tensor(0.5))``, it learns with the heads.
        teacher_temperature: The divisor of the teacher's cosines, for soft targets. They are those
            of the teacher's rows before its head: after it, a head could make them easy to meet.
        head: ``"linear"``; ``"mlp"``: Linear, BatchNorm, ReLU, as in the paper; ``"gcn"``: a
            GCNConv instead of the Linear (it needs ``edge_index``); ``"student"``: a Linear of the
            student's to the teacher's width, while the teacher's rows stay as they are;
            ``"identity"``; or a pair of modules (student's, teacher's) that end in one width.
        head_takes_edges: Whether a pair of modules is called with ``edge_index`` too. Such heads
            see the whole graph, and ``index`` selects after them; other heads see the selected rows
            only.
        symmetric: Whether teacher rows are anchors too.
        queue_size: How many nodes' keys are kept; None: no queue. It needs ``ids``, and does not go
            with ``max_samples``, ``labels`` or ``positives``.
        num_negatives, max_samples, reduction, backend, chunk_size, precision: As in the function.
        process_group: As in the function. BatchNorm in the heads then takes its moments over all
            ranks' rows, too.
        ddp: Whether DistributedDataParallel averages this loss's gradients over the ranks.

    Shapes:
        - **h_s, h_t:** :math:`[N, dim_s]` and :math:`[N, dim_t]`
        - **edge_index:** :math:`[2, E]`, for heads that take edges
        - **weight:** a weight for each row as an anchor, :math:`[N]`
        - **index:** row numbers, or a mask :math:`[N]`
        - **extra_keys:** projected teacher rows, further negatives, :math:`[K, proj\_dim]`
        - **extra_targets:** the same rows before the head, for soft targets, :math:`[K, dim_t]`
        - **labels:** :math:`[N]`, or **positives:** :math:`[2, P]`: further positives
        - **ids:** the nodes of all rows, before ``index``, :math:`[N]`; for ``queue_size``
        - **output:** a scalar, or a value for each selected row

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
    temperature: float | Tensor
    teacher_temperature: float | None
    num_negatives: int | None
    max_samples: int | None
    reduction: str
    backend: str
    chunk_size: int | None
    precision: str
    process_group: Any
    ddp: bool
    _check_options = staticmethod(check_gcrd_options)
    head_names = (*HEADS, "student")

    def __init__(
        self,
        dim_s: int,
        dim_t: int,
        proj_dim: int = 256,
        *,
        temperature: float | Tensor = 0.075,
        teacher_temperature: float | None = None,
        head: HeadSpec = "mlp",
        head_takes_edges: bool = False,
        symmetric: bool = False,
        queue_size: int | None = None,
        num_negatives: int | None = None,
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
            teacher_temperature=teacher_temperature,
            num_negatives=num_negatives,
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
            kept = None if self._keys_are_targets() else dim_t
            self.queue = KeyQueue(type(self).__name__, queue_size, self.width, kept)
            self._moved = False
        self._check_heads()

    def _check_heads(self) -> None:
        """Raise where the heads or the queue do not go with the options."""
        loss = type(self).__name__
        self.check_ranked_heads()
        remedy = "All ranks' rows are negatives already. Leave queue_size out."
        refuse(loss, self.process_group, queue_size=(self.queue is not None, remedy))
        if self.queue is not None and self.max_samples is not None:
            raise ValueError(
                f"{loss}: queue_size is for small batches, max_samples for large ones; got both. "
                "Leave one out."
            )
        if self.queue is not None and (self.queue.targets is None) != self._keys_are_targets():
            raise ValueError(
                f"{loss}: a queue keeps soft targets or does not, as it was built; got "
                f"teacher_temperature={self.teacher_temperature!r} afterwards. Build the loss with "
                "it."
            )

    def _keys_are_targets(self) -> bool:
        """Whether the loss needs no teacher rows beside their keys."""
        return self.teacher_temperature is None or changes_nothing(self.head_t)

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
        weight: Tensor | None = None,
        index: Tensor | None = None,
        extra_keys: Tensor | None = None,
        extra_targets: Tensor | None = None,
        labels: Tensor | None = None,
        positives: Tensor | None = None,
        ids: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        loss = type(self).__name__
        how = PairOptions(**{name: getattr(self, name) for name in PairOptions._fields})
        formula = self.temperature, self.symmetric, self.num_negatives
        with reporting(self.process_group):
            # Options may have been set after the constructor checked them.
            self._check()
            self._check_heads()
            if self.queue is not None:
                check_own_buffers(loss, self.queue)
        s, t, chosen = self.projected(h_s, h_t, edge_index, index)
        with reporting(self.process_group):
            several = resolve_positives(loss, labels, positives, h_s)
            if several is not None:
                several = several.select(chosen)
            weight = row_weights(loss, weight, h_s, chosen)
            soft = soft_targets(loss, self.teacher_temperature, extra_keys, extra_targets)
        if soft is not None and not self._keys_are_targets():
            teacher = select_rows(loss, student_and_teacher(h_t, h_t)[1], chosen)
            soft = Targets(soft.temperature, teacher.to(s.dtype), soft.more)
        if self.queue is None or not has_rows(s):
            # Without rows, the width of keys is unknown, except for ranks, whose heads have run.
            if self.process_group is None and not has_rows(s):
                extra_keys, soft = None, None
            return contrast(s, t, several, weight, *formula, extra_keys, generator, how, soft)
        if several is not None:
            raise ValueError(
                f"{loss}: a queue does not know the labels of its keys, and would take a row's "
                "positives for negatives; got labels= or positives=. Leave queue_size out."
            )
        moves = self.training and torch.is_grad_enabled()
        if moves:
            self._moved = first_pass(loss, "its queue", self._moved)
        nodes = self.queue.selected_ids(ids, h_s, chosen)
        more, others = self.queue.others(t, nodes)
        if extra_keys is not None:
            keys = checked_keys(loss, extra_keys, t)
            if soft is not None and not (soft.rows is None and soft.more is None):
                own = more if others is None else others
                like = t if soft.rows is None else soft.rows
                others = torch.cat([own, checked_targets(loss, soft.more, like, keys)])
            more = torch.cat([more, keys])
        if soft is not None:
            soft = Targets(soft.temperature, soft.rows, others)
        value = contrast(s, t, None, weight, *formula, more, generator, how, soft)
        if moves:
            self.queue.put(t, nodes, None if soft is None else soft.rows)
        return value
