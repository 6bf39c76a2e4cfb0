"""The keys of earlier batches, as further negatives for G-CRD."""

from typing import Any

import torch
from torch import Tensor, nn

from graphkd._checks import check_count, check_row_ids
from graphkd._precision import traced
from graphkd.functional._rows import select_rows
from graphkd.similarity import unit_rows

_FREE = -1


class KeyQueue(nn.Module):
    """The latest normalised key of each node, for at most ``size`` nodes; the oldest leave first.

    Args:
        loss: The name of the loss, for errors.
        size: How many keys there is room for.
        width: The width of a key.
        target_width: The width of the teacher's rows, if it keeps these too, as soft targets.
    """

    keys: Tensor
    targets: Tensor | None
    ids: Tensor
    oldest: Tensor
    _own_buffers = ("keys", "targets", "ids", "oldest")

    def __init__(self, loss: str, size: int, width: int, target_width: int | None = None) -> None:
        super().__init__()
        check_count(f"{loss}: queue_size", size, least=1)
        self.loss, self.size = loss, size
        self.register_buffer("keys", torch.zeros(size, width))
        kept = None if target_width is None else torch.zeros(size, target_width)
        self.register_buffer("targets", kept)
        self.register_buffer("ids", torch.full((size,), _FREE))
        # The search for a place for a new id starts here.
        self.register_buffer("oldest", torch.zeros((), dtype=torch.long))

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        # Saved rows may have a wider dtype than the rows of a new queue.
        for name in ("keys", "targets"):
            saved, held = state_dict.get(f"{prefix}{name}"), getattr(self, name)
            if isinstance(saved, Tensor) and held is not None:
                setattr(self, name, held.to(saved.dtype))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def reset(self) -> None:
        """Forget all keys."""
        for rows in self._rows():
            rows.zero_()
        self.ids.fill_(_FREE)
        self.oldest.zero_()

    def _rows(self) -> list[Tensor]:
        return [self.keys] if self.targets is None else [self.keys, self.targets]

    def others(self, q: Tensor, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """The keys of all nodes but those with rows in ``q``, and their soft targets if kept."""
        if q.size(1) != self.keys.size(1):
            raise ValueError(
                f"{self.loss}: the queue's keys are {self.keys.size(1)} wide, but the heads end in "
                f"{q.size(1)}. Pass proj_dim={q.size(1)}."
            )
        there = (self.ids != _FREE) & ~torch.isin(self.ids, ids)
        targets = None if self.targets is None else self.targets[there].to(q.dtype)
        return self.keys[there].to(q.dtype), targets

    @torch.no_grad()
    def put(self, q: Tensor, ids: Tensor, targets: Tensor | None = None) -> None:
        """Store the rows as keys: over the id's old key, else over the oldest keys.

        ``targets`` are the teacher's rows of the keys, if the queue keeps them.
        """
        q, ids = q.detach()[-self.size :], ids[-self.size :]
        if self.keys.dtype != q.dtype:
            self.keys = self.keys.to(q.dtype)
        known, order = self.ids.sort()
        found = torch.searchsorted(known, ids).clamp(max=self.size - 1)
        seen = known[found] == ids
        slot = order[found]
        # Places of other batches, from the oldest on, then this batch's own; all shapes are static.
        age = (torch.arange(self.size, device=ids.device) - self.oldest) % self.size
        taken = torch.isin(self.ids, ids) & (self.ids != _FREE)
        places = (age + self.size * taken).argsort()
        new = (~seen).cumsum(0)
        place = places[(new - 1).clamp(min=0)]
        slot = torch.where(seen, slot, place)
        self.oldest.copy_(torch.where(new[-1] > 0, (place[-1] + 1) % self.size, self.oldest))
        # A key that is not finite has spoilt this step. It must not spoil later steps.
        finite = q.isfinite().all(dim=1)
        if self.targets is not None and targets is not None:
            targets = targets.detach()[-self.size :]
            finite &= targets.isfinite().all(dim=1)
            self.targets = self.targets.to(q.dtype)
            self.targets.index_copy_(0, slot, unit_rows(targets).masked_fill(~finite[:, None], 0))
        self.keys.index_copy_(0, slot, unit_rows(q).masked_fill(~finite[:, None], 0))
        self.ids.index_copy_(0, slot, ids.masked_fill(~finite, _FREE))

    def selected_ids(self, ids: Any, like: Tensor, index: Tensor | None) -> Tensor:
        """The node ids of the selected rows, checked: one for each row of ``like``."""
        remedy = "Pass batch.n_id, the ids of all rows, also where index selects some."
        check_row_ids(self.loss, "ids (for queue_size)", ids, like, "node ids", remedy)
        nodes = select_rows(self.loss, ids, index).long()
        if not traced() and nodes.numel():
            ordered = nodes.sort().values
            if bool(ordered[0] < 0):
                raise ValueError(
                    f"{self.loss}: ids must not be negative; got {int(ordered[0])}. Pass the ids "
                    "of nodes in the whole graph."
                )
            repeated = ordered[1:][ordered[1:] == ordered[:-1]]
            if repeated.numel():
                raise ValueError(
                    f"{self.loss}: ids must differ, or a row's own key were among its negatives; "
                    f"node {int(repeated[0])} comes twice. Select each node once with index=."
                )
        return nodes

    def extra_repr(self) -> str:
        """The size, for ``repr``."""
        return f"{self.size}, {self.keys.size(1)}"
