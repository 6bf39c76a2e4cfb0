"""What the Modules share: how they print, and how heads meet precision, selection and graphs."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from graphkd._checks import check_pair, check_width
from graphkd._precision import full_precision, student_and_teacher, upcast
from graphkd.distributed import meet, refuse, reporting
from graphkd.functional._rows import resolve_index, select_rows
from graphkd.graph import resolve_edges
from graphkd.heads import check_ranked, head_pair, project, reset_parameters


class DistillationLoss(nn.Module):
    """Base of the losses. Each option is an attribute; ``options`` are those the function takes."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self._names = tuple(options)
        for name, value in options.items():
            setattr(self, name, value)

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments for the function."""
        return {name: getattr(self, name) for name in self._names}

    def extra_repr(self) -> str:
        """The options, for ``repr``."""
        options = self.options
        if (group := options.get("process_group")) is not None:
            options["process_group"] = f"{group.name()}, {group.size()} ranks"
        return ", ".join(f"{name}={value!r}" for name, value in options.items())

    def __deepcopy__(self, memo: dict[int, Any]) -> "DistillationLoss":
        """A copy with the same process group, which itself cannot be copied."""
        group = self.options.get("process_group")
        memo[id(group)] = group
        new: Any = type(self).__new__(type(self))
        memo[id(self)] = new
        new.__setstate__(copy.deepcopy(self.__dict__, memo))
        return new  # type: ignore[no-any-return]

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled."""
        if self.options.get("process_group") is not None:
            raise TypeError(
                f"{type(self).__name__}: a process group cannot be pickled. Save the loss's "
                "state_dict(), or set its process_group to None before."
            )
        return self.__dict__


class ProjectedLoss(DistillationLoss):
    """A loss whose rows pass through a pair of heads first."""

    def __init__(
        self,
        dim_s: int,
        dim_t: int,
        proj_dim: int,
        head: Any,
        head_takes_edges: bool,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.dim_s, self.dim_t = dim_s, dim_t
        self.head_s, self.head_t = head_pair(type(self).__name__, head, dim_s, dim_t, proj_dim)
        self.head_takes_edges = head_takes_edges or head == "gcn"

    def reset_parameters(self) -> None:
        """Draw the heads' parameters anew."""
        reset_parameters(self.head_s)
        reset_parameters(self.head_t)

    def check_ranked_heads(self) -> None:
        """Raise where heads would not be those of one process, but for its process group."""
        group = self.options.get("process_group")
        if group is not None:
            loss, remedy = type(self).__name__, "Put the convolution into the student, or 'mlp'."
            refuse(loss, group, **{"a head that takes edges": (self.head_takes_edges, remedy)})
            check_ranked(loss, self.head_s, self.head_t)

    def extra_repr(self) -> str:
        """The widths and options, for ``repr``."""
        return f"{self.dim_s}, {self.dim_t}, {super().extra_repr()}"

    def projected(
        self, h_s: Tensor, h_t: Tensor, edge_index: Any, index: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The selected rows of both sides, each through its head, and their numbers.

        Row-wise heads see the selected rows only. Heads that take edges see the whole graph, and
        selection follows them. Without rows there is nothing to project.
        """
        loss, group = type(self).__name__, self.options.get("process_group")
        with reporting(group):
            check_pair(loss, h_s, h_t)
            check_width(loss, "h_s", h_s, "dim_s", self.dim_s)
            check_width(loss, "h_t", h_t, "dim_t", self.dim_t)
            # The student decides: a teacher's stored float64 does not ask for float64 heads.
            h_s, h_t = student_and_teacher(h_s, upcast(h_t).to(upcast(h_s).dtype))
            chosen = resolve_index(loss, index, h_s)
            edges = self._edges(h_s, edge_index) if self.head_takes_edges else None
            if edges is None:
                h_s, h_t = select_rows(loss, h_s, chosen), select_rows(loss, h_t, chosen)
        ranks = None
        if group is not None:
            ranks = meet(loss, group, rows=[h_s.size(0)], dtype=h_s.dtype, training=self.training)
        with full_precision(h_s.device):
            # On a rank without rows, the heads run all the same: DDP waits for all gradients.
            if ranks is None and not torch.compiler.is_compiling() and h_s.size(0) == 0:
                return h_s[:, :1], h_t[:, :1], chosen
            h_s = project(loss, self.head_s, h_s, edges, "h_s", ranks)
            h_t = project(loss, self.head_t, h_t, edges, "h_t", ranks)
            if edges is not None:
                h_s, h_t = select_rows(loss, h_s, chosen), select_rows(loss, h_t, chosen)
        check_pair(
            loss,
            h_s,
            h_t,
            names=("projected h_s", "projected h_t"),
            projecting="The two heads must end in the same width.",
        )
        return h_s, h_t, chosen

    def _edges(self, h: Tensor, edge_index: Any) -> Tensor:
        loss, n = type(self).__name__, h.size(0)
        if edge_index is None:
            raise TypeError(
                f"{loss}: its heads are graph convolutions and need the graph; got None. "
                "Call it with edge_index=."
            )
        edges = resolve_edges(loss, edge_index, n, n, h.device)
        return torch.stack([edges.src, edges.dst])
