"""What the Metrics keep between batches: states of any dtype, and moments that merge."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

from graphkd.diagnostics._moments import Moments, merge, no_moments, unpack

# The dtypes of what is gathered: rows, moments and ids.
_DTYPES = (torch.float32, torch.float64, torch.int64)


class Streamed(Metric):
    """What all have in common: states keep their dtype, and ranks without rows fit in."""

    is_differentiable = False
    higher_is_better: bool | None = True
    full_state_update = False

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> Any:
        """Move the states; conversions, as of a model to half precision, leave them alone."""

        def moved(x: Tensor) -> Tensor:
            like = fn(x.new_empty(0))
            return fn(x) if like.dtype == x.dtype else x.to(like.device)

        return super()._apply(moved, *args, **kwargs)

    def _sync_dist(
        self,
        dist_sync_fn: Callable[..., Any] = gather_all_tensors,
        process_group: Any | None = None,
    ) -> None:
        """Gather the states; a rank without rows learns their form from the others."""
        group = process_group or self.process_group
        for name, default in self._defaults.items():
            if not isinstance(default, list):
                continue
            parts = getattr(self, name)
            mine = torch.cat(parts) if parts else None
            kind = [0, 0] if mine is None else [mine.size(1), _DTYPES.index(mine.dtype)]
            kinds = torch.stack(dist_sync_fn(torch.tensor(kind, device=self.device), group=group))
            width, dtype = (int(x) for x in kinds.amax(dim=0))
            if bool(((kinds[:, 0] != 0) & (kinds[:, 0] != width)).any()):
                raise ValueError(
                    f"{type(self).__name__}: the rows of all ranks must have the same widths; got "
                    f"states of {kinds[:, 0].tolist()} columns. Compare the same layers everywhere."
                )
            if mine is None:
                mine = torch.zeros(0, width, device=self.device)
            setattr(self, name, [mine.to(_DTYPES[dtype])])
        super()._sync_dist(dist_sync_fn, process_group=process_group)

    def _check_widths(self, new: tuple[int, int], old: tuple[int, int]) -> None:
        """Raise if the rows of a batch do not fit those of earlier ones."""
        if new != old:
            raise ValueError(
                f"{type(self).__name__}: h_s and h_t must have the widths of earlier batches; got "
                f"{new[0]} and {new[1]} after {old[0]} and {old[1]}. Call .reset() first, or use a "
                "Metric for each pair of layers."
            )


class OfMoments(Streamed):
    """Keeps the moments of all rows so far, each as a packed row."""

    moments: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("moments", default=[], dist_reduce_fx="cat")

    def _add(self, new: Moments) -> None:
        """Merge the moments of a batch into those of all."""
        if new.n == 0:
            return
        for old in self._kept(new.mean.device):
            self._check_widths(new.widths, old.widths)
            new = merge(old, new)
        self.moments = [new.pack()]

    def _reduce_states(self, incoming_state: dict[str, Any]) -> None:
        """Keep one row, where torchmetrics would keep one for each batch of ``forward``."""
        super()._reduce_states(incoming_state)
        total = self._total()
        self.moments = [total.pack()] if total.n else []

    def _kept(self, device: torch.device) -> list[Moments]:
        """The moments of earlier batches, or of the ranks."""
        rows = (row for part in self.moments for row in part.view(-1, part.size(-1)))
        return [unpack(row.to(device)) for row in rows]

    def _total(self) -> Moments:
        """The moments of all rows."""
        none = no_moments(1, 1, torch.empty(0, device=self.device))
        return functools.reduce(merge, self._kept(self.device), none)
