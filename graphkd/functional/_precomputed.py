"""The teacher's side of a loss, computed once and reused in every step.

Each object remembers what it was made of, and refuses to serve another call.
"""

from typing import Any

import torch
from torch import Tensor

from graphkd._checks import describe
from graphkd.graph import Edges
from graphkd.similarity import Gamma, Kernel, KernelFunction


class _TeacherSide:
    """What both kinds share: the kernel, the selection, and a watch over the teacher's rows."""

    made_by: str

    def __init__(
        self, h_t: tuple[Tensor, ...], kernel: Kernel, gamma: Gamma, index: Tensor | None
    ) -> None:
        self.kernel, self.gamma, self.index = kernel, gamma, index
        # Rows made in inference mode have no counter of in-place changes.
        self._rows = tuple(h.clone() if h.is_inference() else h.detach() for h in h_t)
        self._versions = [h._version for h in self._rows]

    def __repr__(self) -> str:
        rows = ", ".join(describe(h) for h in self._rows)
        return f"{type(self).__name__}(kernel={self.kernel.name!r}, rows: {rows})"

    def check(
        self, loss: str, kernel: Kernel | KernelFunction, gamma: Gamma, index: Tensor | None
    ) -> None:
        """Raise a ValueError unless this was made for such a call, of rows that are unchanged."""
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
        same = index is self.index or (
            index is not None and self.index is not None and torch.equal(index, self.index)
        )
        if not same:
            raise ValueError(
                f"{loss}: the teacher's side was computed for another index; it had "
                f"{_count(self.index)}, this call {_count(index)}. Pass the same index to "
                f"{self.made_by} and to the loss."
            )
        if [h._version for h in self._rows] != self._versions:
            raise ValueError(
                f"{loss}: the teacher's rows were changed in place after their side was computed. "
                f"Call {self.made_by} again, or on a copy."
            )


def _count(index: Tensor | None) -> str:
    return "all rows" if index is None else describe(index)


class GlobalLSPTeacher(_TeacherSide):
    """The teacher's d × d Gram matrix, for :func:`graphkd.functional.global_lsp_loss`."""

    made_by = "precompute_global_lsp"

    def __init__(self, h_t: Tensor, kernel: Kernel, index: Tensor | None, gram: Tensor) -> None:
        super().__init__((h_t,), kernel, 0.5, index)
        self.gram = gram

    @property
    def h(self) -> Tensor:
        """The selected rows."""
        return self._rows[0]


class LSPTeacher(_TeacherSide):
    """The teacher's similarity on every edge, for :func:`graphkd.functional.lsp_loss`."""

    made_by = "precompute_lsp"

    def __init__(
        self,
        h_t: Tensor | tuple[Tensor, Tensor],
        kernel: Kernel,
        gamma: Gamma,
        index: Tensor | None,
        edges: Edges,
        values: Tensor,
    ) -> None:
        super().__init__((h_t,) if isinstance(h_t, Tensor) else tuple(h_t), kernel, gamma, index)
        self._src, self._dst, self._values = edges.src, edges.dst, values

    @property
    def h(self) -> Any:
        """The rows, or the pair (sources, targets)."""
        return self._rows[0] if len(self._rows) == 1 else self._rows

    def values_for(self, loss: str, edges: Edges) -> Tensor:
        """The value on each of these edges; a ValueError unless they are those it was made on."""
        pairs = ((self._src, edges.src), (self._dst, edges.dst))
        if all(mine is other or torch.equal(mine, other) for mine, other in pairs):
            return self._values
        mine, other = self._src.numel(), edges.src.numel()
        raise ValueError(
            f"{loss}: the teacher's side was computed on another graph: it has {mine} edges, this "
            f"one {other}{' others' if mine == other else ''}. Call {self.made_by} with the graph "
            "that the loss gets."
        )
