"""Contrastive representation distillation (CRD), with banks of all nodes' embeddings."""

from numbers import Real
from typing import Any

import torch
from torch import Tensor

from graphkd._checks import check_count, check_matrix, describe
from graphkd._precision import has_rows
from graphkd.functional.contrast.banks import contrast_with_banks, move_entries, node_ids
from graphkd.functional.contrast.crd import check_crd_options
from graphkd.heads import HeadSpec
from graphkd.losses._base import ProjectedLoss
from graphkd.similarity import unit_rows


class CRDLoss(ProjectedLoss):
    r"""Contrastive representation distillation (CRD), with banks of all nodes' embeddings.

    Its heads learn: hand ``loss.parameters()`` to the optimiser with the student's.

    With unit rows s and t of the projected student and teacher, the banks' entries :math:`\bar s`
    and :math:`\bar t` of all M nodes, and K negatives :math:`\mathcal N_i` of node i,

    .. math::
        \ell(a, k) = \frac{\langle a, k\rangle}{\tau} - \log\frac ZM - \log K, \qquad
        L = \frac1N \sum_i \Bigl[-\log\sigma(\ell(s_i, \bar t_i))
            - \sum_{j \in \mathcal N_i} \log\sigma(-\ell(s_i, \bar t_j))\Bigr]
            + \Bigl[s \leftrightarrow t\Bigr]

    Both heads learn, the teacher's from the second direction; the teacher itself gets no gradient.
    By default all other nodes are negatives, exactly: see :func:`graphkd.functional.crd_loss`.

    The banks are buffers, which ``state_dict`` holds, and start as random unit rows. After the
    value is computed, in training mode with gradients enabled, the entries of the batch's nodes
    move to :math:`\mathrm{unit}(m \bar s_i + (1 - m) s_i)`; of a node that comes twice, its mean
    row counts. ``.eval()`` holds them still.

    Args:
        dim_s: The student's width.
        dim_t: The teacher's width.
        num_nodes: M, the number of nodes of the whole graph.
        proj_dim: The width that both are projected to, and of the banks; also that of a user's pair
            of heads.
        temperature: :math:`\tau`.
        num_negatives: K, drawn anew for each call; None: all other nodes.
        log_z: :math:`\log Z/M`. Default: a closed form for independent directions of this width.
        momentum: m, from 0 (an entry is the latest row) to 1 (it stays).
        bank_s: The first entries of the student's bank, in the place of random ones.
        bank_t: The first entries of the teacher's bank.
        head: ``"linear"``, ``"mlp"``, ``"gcn"`` (``edge_index`` is then needed), ``"identity"``, or
            a pair of modules (student's, teacher's) that end in one width.
        head_takes_edges: Whether the user's pair is called with ``edge_index`` too.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value per row).
        backend: ``"auto"``, ``"reference"`` (dense) or ``"chunked"`` (linear memory).
        chunk_size: Rows of a tile of the chunked backend.

    Shapes:
        - **h_s:** :math:`[N, dim_s]`
        - **h_t:** :math:`[N, dim_t]`
        - **ids:** :math:`[N]`: the node ids of all rows, before ``index``; default: all M nodes
        - **edge_index:** :math:`[2, E]`, for heads that take edges
        - **index:** :math:`[M]`, or a mask :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If an option is out of range, or embeddings do not have the given widths, equal
            row counts and one device; for one row with BatchNorm in training mode.
        TypeError: If embeddings are not floating-point tensors, or a graph or ids are needed and
            missing.
        IndexError: If ``index`` or an edge names a row, or ``ids`` a node, that does not exist.

    Source: Tian, Krishnan and Isola, ICLR 2020, arXiv 1910.10699. The authors' code draws 16,384
    negatives for each row, and takes Z from its first batch; see the function.

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
    check_options = staticmethod(check_crd_options)

    bank_s: Tensor
    bank_t: Tensor

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
        shape = (num_nodes, dim_t if head == "identity" else proj_dim)
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
        index: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        loss = type(self).__name__
        s, t, chosen = self.projected(h_s, h_t, edge_index, index)
        nodes = node_ids(loss, ids, self.num_nodes, h_s, chosen)
        rows = has_rows(s)
        if rows and s.size(1) != self.bank_s.size(1):
            raise ValueError(
                f"{loss}: the banks' entries are {self.bank_s.size(1)} wide, but the heads end in "
                f"{s.size(1)}. Pass proj_dim={s.size(1)}."
            )
        moves = rows and self.training and torch.is_grad_enabled() and self.momentum < 1
        # The backward pass may look at all entries as they are now. A draw is a copy of its own.
        count = self.options["num_negatives"]
        held = moves and (count is None or count >= self.num_nodes - 1)
        value = contrast_with_banks(
            s,
            t,
            self.bank_s.clone() if held else self.bank_s,
            self.bank_t.clone() if held else self.bank_t,
            nodes,
            generator=generator,
            **self.options,
        )
        if moves:
            move_entries(self.bank_s, s, nodes, self.momentum)
            move_entries(self.bank_t, t, nodes, self.momentum)
        return value


def _check_momentum(loss: str, momentum: Any) -> None:
    if isinstance(momentum, bool) or not isinstance(momentum, Real):
        raise TypeError(f"{loss}: momentum must be a number; got {describe(momentum)}.")
    if not 0 <= float(momentum) <= 1:
        raise ValueError(f"{loss}: momentum must lie between 0 and 1; got {momentum!r}.")


def _first_entries(loss: str, name: str, bank: Tensor | None, shape: tuple[int, int]) -> Tensor:
    if bank is None:
        return unit_rows(torch.randn(shape))
    check_matrix(loss, name, bank, "bank entries")
    if bank.shape != shape:
        raise ValueError(
            f"{loss}: {name} must have the shape (num_nodes, proj_dim), {shape}; got "
            f"{describe(bank)}. Project the embeddings of all nodes, or leave it out."
        )
    return bank.detach().clone()
