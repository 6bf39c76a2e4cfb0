"""CRD's work with its banks: the node of a row, the drawn negatives, and the two directions."""

from typing import Any

import torch
from torch import Tensor

from graphkd._checks import check_devices, check_matrix, check_row_ids, describe
from graphkd._precision import full_precision, recorded, traced
from graphkd.functional._rows import group_numbers, reduce_rows, sample_rows, select_rows
from graphkd.ops.contrast_primitives import nce
from graphkd.similarity import unit_rows


def contrast_with_banks(
    p: Tensor,
    q: Tensor,
    bank_s: Tensor,
    bank_t: Tensor,
    nodes: Tensor,
    weight: Tensor | None,
    *,
    temperature: float,
    num_negatives: int | None,
    log_z: float | None,
    generator: torch.Generator | None,
    reduction: str,
    backend: str,
    chunk_size: int | None,
) -> Tensor:
    """CRD of rows that passed the checks; here both sides may learn, and the banks do not."""
    with full_precision(p.device):
        count, width = bank_s.shape
        # One more than negatives: an anchor leaves out its own key, or the last if it is not drawn.
        most = None if num_negatives is None else num_negatives + 1
        drawn = sample_rows(count, most, generator, p.device)
        own = nodes
        if drawn is not None:
            last = drawn.size(0) - 1
            place = torch.full((count,), last, device=p.device)
            own = place.index_copy(0, drawn, torch.arange(last + 1, device=p.device))
            own = own.index_select(0, nodes)
            count = last + 1
        shift = _number(count - 1, p).log() + _log_z(width, temperature, log_z, p)

        def one_way(anchors: Tensor, bank: Tensor) -> Tensor:
            bank = recorded(bank.detach()).to(p.dtype)
            keys = bank if drawn is None else bank.index_select(0, drawn)
            positives = bank.index_select(0, nodes)
            args = unit_rows(anchors), positives, keys, own, shift, temperature
            return nce("crd_loss", *args, backend, chunk_size)

        return reduce_rows(one_way(p, bank_t) + one_way(q, bank_s), reduction, weight)


def _number(value: Any, like: Tensor) -> Tensor:
    """A float64 scalar, also from a number that torch.compile does not know."""
    dtype = torch.float32 if like.device.type == "mps" else torch.float64
    return torch.full((), value, dtype=dtype, device=like.device)


def _log_z(width: int, temperature: float, log_z: float | None, like: Tensor) -> Tensor:
    """The given log Z/M, or log E exp(cos/τ) over independent directions.

    This logarithm is the integral over κ = 0 … 1/τ of the ratio of Bessel functions
    I_{d/2}/I_{d/2−1}. Here it is the integral of a bound of the ratio, κ/(a + √(a² + κ²)) with
    a = (d − 1)/2. It is too high by at most 0.7, at d = 1, and by 0.006 at d = 128 and τ = 0.07.
    """
    if log_z is not None:
        return _number(log_z, like)
    a = (_number(width, like) - 1) / 2
    root = torch.hypot(a, torch.full_like(a, 1 / temperature))
    return root - a - torch.xlogy(a, (a + root) / (2 * a))


def check_banks(loss: str, p: Tensor, bank_s: Any, bank_t: Any) -> None:
    """Raise unless both banks are matrices of one shape, as wide as the rows."""
    for name, bank in {"bank_s": bank_s, "bank_t": bank_t}.items():
        check_matrix(loss, name, bank, "bank entries")
        check_devices(loss, embeddings=p, **{name: bank})
    if bank_s.shape != bank_t.shape or bank_s.size(1) != p.size(1):
        raise ValueError(
            f"{loss}: bank_s and bank_t must both have one row per node of the whole graph and the "
            f"width of the (projected) rows, {p.size(1)}; got {describe(bank_s)} and "
            f"{describe(bank_t)}. Give both the shape (num_nodes, {p.size(1)})."
        )


def node_ids(loss: str, ids: Any, num_nodes: int, like: Tensor, index: Tensor | None) -> Tensor:
    """The node of each selected row, checked; by default the rows are all nodes in their order."""
    if ids is None and like.size(0) == num_nodes:
        ids = torch.arange(num_nodes, device=like.device)
    remedy = f"Pass batch.n_id; without ids, the rows must be all {num_nodes} nodes in their order."
    check_row_ids(loss, "ids", ids, like, "node ids", remedy)
    nodes = select_rows(loss, recorded(ids), index).long()
    outside = (nodes < 0) | (nodes >= num_nodes)
    if not traced() and bool(outside.any()):
        raise IndexError(
            f"{loss}: ids names node {int(nodes[outside][0])}, but the banks hold {num_nodes} "
            f"nodes, numbered from 0. Node ids must lie in [0, {num_nodes})."
        )
    return nodes


@torch.no_grad()
def move_entries(bank: Tensor, rows: Tensor, nodes: Tensor, momentum: float) -> None:
    """Let the nodes' entries follow their rows: unit(momentum · entry + (1 − momentum) · row).

    If a node has several rows, their mean counts. An entry stays as it is where the new one is zero
    or not finite. What is not finite has spoilt this step, but must not spoil later steps.
    """
    group = group_numbers(nodes)
    rows = unit_rows(rows.detach()).to(bank.dtype)
    sums = torch.zeros_like(rows).index_add(0, group, rows)
    counts = torch.zeros_like(rows[:, 0]).index_add(0, group, torch.ones_like(rows[:, 0]))
    mean = (sums / counts.clamp(min=1)[:, None]).index_select(0, group)
    old = bank.index_select(0, nodes)
    new = unit_rows(momentum * old + (1 - momentum) * mean)
    usable = new.isfinite().all(dim=1) & (new != 0).any(dim=1)
    bank.index_copy_(0, nodes, torch.where(usable[:, None], new, old))
