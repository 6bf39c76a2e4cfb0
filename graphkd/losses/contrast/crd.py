"""Contrastive representation distillation (CRD), with banks of all nodes' embeddings."""

from numbers import Real
from typing import Any

import torch
from torch import Tensor

from graphkd._checks import check_count, check_matrix, describe, memory_of
from graphkd._precision import WideBuffers, has_rows, upcast
from graphkd.distributed import check_own_buffers
from graphkd.functional._rows import row_weights
from graphkd.functional.contrast.banks import contrast_with_banks, move_entries, node_ids
from graphkd.functional.contrast.crd import check_crd_options
from graphkd.heads import HeadSpec
from graphkd.losses._base import ProjectedLoss, first_pass
from graphkd.similarity import unit_rows


class CRDLoss(WideBuffers, ProjectedLoss):
    r"""Contrastive representation distillation (CRD), with banks of all nodes' embeddings.

    Its heads learn: hand ``loss.parameters()`` to the optimiser with the student's.

    .. math:: L = \mathrm{mean}_i [-\log\sigma(\ell_{ii}) - \sum_j \log\sigma(-\ell_{ij})]

    plus the same with student and teacher exchanged, from which the teacher's head learns. The
    teacher itself gets no gradient. For node i's unit row, node j's entry in the other bank, and K
    negatives j, :math:`\ell_{ij} = \langle s_i, \bar t_j\rangle/\tau - \log(Z/M) - \log K`.

    The banks are buffers, which ``state_dict`` holds, and start as random unit rows. After the
    value is computed, in training mode with gradients enabled, the entries of the batch's nodes
    move to :math:`\mathrm{unit}(m \bar s_i + (1 - m) s_i)`, from entry :math:`\bar s_i` towards row
    :math:`s_i`. If a node comes twice, its mean row counts. ``.eval()`` keeps the banks still. On
    several ranks, each keeps banks of its own, of the nodes in its batches.

    :func:`graphkd.functional.crd_loss` explains the terms, and names errors and source. The
    Module adds ValueError for wrong widths and for one row with BatchNorm in training mode,
    TypeError for missing edges, and IndexError for an edge to a row that does not exist.

    Args:
        dim_s: The student's width.
        dim_t: The teacher's width.
        num_nodes: M, the number of nodes of the whole graph.
        proj_dim: The width of the projected rows and of the banks; also the width that a pair of
            modules must end in.
        temperature: The divisor :math:`\tau` of the products.
        num_negatives: K, how many each call draws. Default: all others are negatives, exactly.
        log_z: :math:`\log Z/M`. Default: a closed form, as in the function.
        momentum: m, from 0 (an entry is the latest row) to 1 (it stays).
        bank_s, bank_t: First entries of the banks, instead of random ones.
        head: ``"linear"``, ``"mlp"``, ``"gcn"`` (it needs ``edge_index``), ``"identity"``, or a
            pair of modules (student's, teacher's) that end in one width.
        head_takes_edges: Whether a pair of modules is called with ``edge_index`` too.
        reduction, backend, chunk_size: As in the function.

    Shapes:
        - **h_s, h_t:** :math:`[N, dim_s]` and :math:`[N, dim_t]`
        - **ids:** the nodes of all rows, before ``index``, :math:`[N]`; default: all nodes in order
        - **edge_index:** :math:`[2, E]`, for heads that take edges
        - **weight:** a weight for each row, :math:`[N]`
        - **index:** row numbers, or a mask :math:`[N]`
        - **output:** a scalar, or a value for each selected row

    Example:
        >>> import torch
        >>> from graphkd import CRDLoss
        >>> h, banks = torch.eye(2), {"bank_s": torch.eye(2), "bank_t": torch.eye(2)}
        >>> loss = CRDLoss(2, 2, 2, head="identity", temperature=1.0, log_z=0.0, **banks)
        >>> loss(h, h)     # 2 (log(1 + 1/e) + log 2)
        tensor(2.0128)
    """

    temperature: float
    num_negatives: int | None
    log_z: float | None
    reduction: str
    backend: str
    chunk_size: int | None
    _check_options = staticmethod(check_crd_options)

    bank_s: Tensor
    bank_t: Tensor
    _own_buffers = ("bank_s", "bank_t")
    _wide = ("bank_s", "bank_t")

    def __init__(
        self,
        dim_s: int,
        dim_t: int,
        num_nodes: int,
        proj_dim: int = 128,
        *,
        temperature: float = 0.07,
        num_negatives: int | None = None,
        log_z: float | None = None,
        momentum: float = 0.5,
        bank_s: Tensor | None = None,
        bank_t: Tensor | None = None,
        head: HeadSpec = "linear",
        head_takes_edges: bool = False,
        reduction: str = "mean",
        backend: str = "auto",
        chunk_size: int | None = None,
    ) -> None:
        loss = type(self).__name__
        check_count(f"{loss}: num_nodes", num_nodes, least=1)
        _check_momentum(loss, momentum)
        super().__init__(
            dim_s,
            dim_t,
            proj_dim,
            head,
            head_takes_edges,
            temperature=temperature,
            num_negatives=num_negatives,
            log_z=log_z,
            reduction=reduction,
            backend=backend,
            chunk_size=chunk_size,
        )
        self.num_nodes, self.momentum = num_nodes, momentum
        self._moved = False
        shape = (num_nodes, self.width)
        _check_size(loss, shape)
        self.register_buffer("bank_s", _first_entries(loss, "bank_s", bank_s, shape))
        self.register_buffer("bank_t", _first_entries(loss, "bank_t", bank_t, shape))

    def reset_parameters(self) -> None:
        """Draw the heads' parameters and the banks anew."""
        super().reset_parameters()
        for bank in (self.bank_s, self.bank_t):
            bank.copy_(unit_rows(torch.randn_like(bank)))

    def extra_repr(self) -> str:
        """The widths, the banks' size and the options, for ``repr``."""
        return f"{super().extra_repr()}, num_nodes={self.num_nodes}, momentum={self.momentum}"

    def forward(
        self,
        h_s: Tensor,
        h_t: Tensor,
        ids: Tensor | None = None,
        edge_index: Any = None,
        *,
        weight: Tensor | None = None,
        index: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        loss = type(self).__name__
        check_own_buffers(loss, self)
        s, t, chosen = self.projected(h_s, h_t, edge_index, index)
        nodes = node_ids(loss, ids, self.num_nodes, h_s, chosen)
        weight = row_weights(loss, weight, h_s, chosen)
        rows = has_rows(s)
        if rows and s.size(1) != self.bank_s.size(1):
            raise ValueError(
                f"{loss}: the banks' entries are {self.bank_s.size(1)} wide, but the heads end in "
                f"{s.size(1)}. Pass proj_dim={s.size(1)}."
            )
        moves = rows and self.training and torch.is_grad_enabled() and self.momentum < 1
        if moves:
            self._moved = first_pass(loss, "its banks", self._moved)
        # The backward pass may read all entries as they are now. Drawn entries are a copy already.
        count = self.options["num_negatives"]
        held = moves and (count is None or count >= self.num_nodes - 1)
        value = contrast_with_banks(
            s,
            t,
            _copied(self.bank_s) if held else self.bank_s,
            _copied(self.bank_t) if held else self.bank_t,
            nodes,
            weight,
            generator=generator,
            **self.options,
        )
        if moves:
            move_entries(self.bank_s, s, nodes, self.momentum)
            move_entries(self.bank_t, t, nodes, self.momentum)
        return value


def _copied(bank: Tensor) -> Tensor:
    """All entries, drawn: a compiler may leave out a clone, and then read what has moved since."""
    return bank.index_select(0, torch.arange(bank.size(0), device=bank.device))


def _check_momentum(loss: str, momentum: Any) -> None:
    if isinstance(momentum, bool) or not isinstance(momentum, Real):
        raise TypeError(f"{loss}: momentum must be a number; got {describe(momentum)}.")
    if not 0 <= float(momentum) <= 1:
        raise ValueError(f"{loss}: momentum must lie between 0 and 1; got {momentum!r}.")


def _check_size(loss: str, shape: tuple[int, int]) -> None:
    size, device = 2 * 4 * shape[0] * shape[1], torch.get_default_device()
    if size > memory_of(device):
        raise ValueError(
            f"{loss}: num_nodes={shape[0]} means two banks of {shape}, {size / 2**30:.4g} GiB, "
            "more than there is. Renumber node ids that are hashes or have large gaps, by their "
            "place in torch.unique(n_id), or lower proj_dim."
        )


def _first_entries(loss: str, name: str, bank: Tensor | None, shape: tuple[int, int]) -> Tensor:
    if bank is None:
        return unit_rows(upcast(torch.randn(shape)))
    check_matrix(loss, name, bank, "bank entries")
    if bank.shape != shape:
        raise ValueError(
            f"{loss}: {name} must have the shape (num_nodes, proj_dim), {shape}; got "
            f"{describe(bank)}. Project the embeddings of all nodes, or leave it out."
        )
    return upcast(bank.detach().clone())
