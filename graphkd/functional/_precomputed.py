"""The teacher's side of a loss, computed once and reused in every step.

Each object remembers what it was made of, and refuses to serve another call.
"""

from typing import Any

import torch
from torch import Tensor

from graphkd._checks import describe
from graphkd._precision import recorded, traced
from graphkd.graph import Edges
from graphkd.similarity import Gamma, Kernel, KernelFunction


class _TeacherSide:
    """What both kinds share: kernel, selection, and a check that the rows did not change."""

    made_by: str

    def __init__(
        self, h_t: tuple[Tensor, ...], kernel: Kernel, gamma: Gamma, index: Tensor | None
    ) -> None:
        self.kernel, self.gamma = kernel, gamma
        self.index = None if index is None else index.clone()
        self._rows = h_t
        self._versions = [h._version for h in h_t]

    def __repr__(self) -> str:
        rows = ", ".join(describe(h) for h in self._rows)
        return f"{type(self).__name__}(kernel={self.kernel.name!r}, rows: {rows})"

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy checks its own rows."""
        vars(self).update(state, _versions=[h._version for h in state["_rows"]])

    def to(self, device: torch.device | str) -> Any:
        """The same on another device."""
        moved = object.__new__(type(self))
        moved.__setstate__({name: _to(value, device) for name, value in vars(self).items()})
        return moved

    def check(
        self, loss: str, kernel: Kernel | KernelFunction, gamma: Gamma, index: Tensor | None
    ) -> None:
        """Raise a ValueError unless the call has the same options, and the rows did not change."""
        wanted: dict[str, tuple[Any, Any]] = {
            "kernel": (self.kernel.name, getattr(kernel, "name", kernel)),
            "gamma": (self.gamma, gamma),
        }
        for name, (made, called) in wanted.items():
            if made != called:
                raise ValueError(
                    f"{loss}: the teacher's side was computed for {name}={made!r}; this call has "
                    f"{name}={called!r}. Call {self.made_by} with the loss's own options."
                )
        if (index is None) != (self.index is None) or not _equal(index, self.index):
            raise ValueError(
                f"{loss}: the teacher's side was computed for another index; it had "
                f"{_count(self.index)}, this call {_count(index)}. Pass the same index to "
                f"{self.made_by} and to the loss."
            )
        if not traced() and [h._version for h in self._rows] != self._versions:
            raise ValueError(
                f"{loss}: the teacher's rows were changed in place after their side was computed. "
                f"Call {self.made_by} again, or on a copy."
            )


def lasting(h: Tensor) -> Tensor:
    """Rows without a gradient that autograd may keep: not those made in inference mode."""
    return recorded(h.detach())


def _equal(a: Tensor | None, b: Tensor | None) -> bool:
    """Whether both are the same. While something is traced, only shapes are compared."""
    if a is None or b is None or a is b:
        return True
    return a.shape == b.shape if traced() else torch.equal(a, b)


def _to(value: Any, device: torch.device | str) -> Any:
    if isinstance(value, tuple):
        return tuple(_to(v, device) for v in value)
    return value.to(device) if isinstance(value, Tensor) else value


def _measured(edges: Edges, gamma: Gamma) -> Tensor | None:
    """A mask of the edges whose median length is taken; None stands for all, or for no median."""
    if gamma != "median" or edges.weight is None:
        return None
    return edges.weight > 0


def _kept(measured: Tensor | None) -> str:
    return "without edge_weight" if measured is None else "with another edge_weight"


def _count(index: Tensor | None) -> str:
    return "all rows" if index is None else describe(index)


class GlobalLSPTeacher(_TeacherSide):
    """The teacher's d × d Gram matrix, for :func:`graphkd.functional.global_lsp_loss`."""

    made_by = "precompute_global_lsp"

    def __init__(
        self, h_t: Tensor, kernel: Kernel, index: Tensor | None, h: Tensor, gram: Tensor
    ) -> None:
        super().__init__((h_t,), kernel, 0.5, index)
        self.h, self.gram = h, gram


class LSPTeacher(_TeacherSide):
    """The teacher's similarity on every edge, for :func:`graphkd.functional.lsp_loss`."""

    made_by = "precompute_lsp"

    def __init__(
        self,
        h_t: tuple[Tensor, ...],
        kernel: Kernel,
        gamma: Gamma,
        index: Tensor | None,
        edges: Edges,
        values: Tensor,
    ) -> None:
        super().__init__(h_t, kernel, gamma, index)
        self._src, self._dst = edges.src, edges.dst
        self._measured = _measured(edges, gamma)
        # A copy: torch.compile cannot take a view of a sparse tensor.
        self._values = values.clone()

    @property
    def h(self) -> Any:
        """The rows, or the pair (sources, targets)."""
        return self._rows[0] if len(self._rows) == 1 else self._rows

    def values_for(self, loss: str, edges: Edges) -> Tensor:
        """The value on each edge. Other edges than at the start are a ValueError."""
        if _equal(self._src, edges.src) and _equal(self._dst, edges.dst):
            measured = _measured(edges, self.gamma)
            if (measured is None) == (self._measured is None) and _equal(measured, self._measured):
                return self._values
            raise ValueError(
                f"{loss}: gamma='median' leaves edges of weight 0 out, and the teacher's side was "
                f"computed {_kept(self._measured)}; this call is {_kept(measured)}. Pass the same "
                f"edge_weight to {self.made_by} and to the loss."
            )
        mine, other = self._src.numel(), edges.src.numel()
        raise ValueError(
            f"{loss}: the teacher's side was computed on another graph: it has {mine} edges, this "
            f"one {other}{' others' if mine == other else ''}. Call {self.made_by} with the graph "
            "that the loss gets."
        )
