"""The teacher of a store: the model, the layer that gives h, and what it gives for a batch."""

import copy
import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from graphkd._checks import check_matrix, describe
from graphkd.tap import Tap

WHERE = "TeacherStore.build"
_OF_EDGES = ("edge_weight", "edge_attr")  # what PyG's models may take beside x and edge_index

Forward = Callable[[Any, Any], Any]


class Teacher:
    """The teacher, the layer that gives its embeddings, and the dtype of the kept rows."""

    def __init__(
        self, model: nn.Module, tap: str | None, forward: Forward | None, dtype: torch.dtype
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"{WHERE}: teacher must be a torch.nn.Module; got {describe(model)}.")
        if forward is not None and not callable(forward):
            raise TypeError(
                f"{WHERE}: forward must be a function of model and batch; got {describe(forward)}."
            )
        if tap is not None:
            Tap(model, tap).close()  # raises now if there is no such layer
        self.model, self.tap, self.dtype = model, tap, dtype
        self.typed = False  # whether the last logits came in a dict by node type
        self.forward = forward or _call
        tensors = [*model.parameters(), *model.buffers()]
        self.device = tensors[0].device if tensors else None

    @contextmanager
    def in_eval_mode(self) -> Iterator[None]:
        flags = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        try:
            yield
        finally:
            for module, flag in flags:
                module.training = flag

    @torch.no_grad()
    def outputs(self, batch: Any, node_type: str | None) -> dict[str, Tensor]:
        """The teacher's outputs for a batch: h and z, or one of them."""
        if self.device is not None and hasattr(batch, "to"):
            batch = copy.copy(batch).to(self.device)  # PyG's .to() moves a graph in place
        h = None
        if self.tap is None:
            z = self.forward(self.model, batch)
            if isinstance(z, tuple) and len(z) == 2:
                h, z = z
        else:
            with Tap(self.model, self.tap) as tap:  # a new one, which cannot hold an older output
                z = self.forward(self.model, batch)
            h = tap.value
        named = {"z, the teacher's return value,": z}
        if h is not None or self.tap is not None:
            named = {f"h, {f'the output of {self.tap!r}' if self.tap else 'returned'},": h, **named}
        found = {}
        for name, output in named.items():
            self.typed = isinstance(output, dict)
            if isinstance(output, dict):
                types = ", ".join(map(repr, output))
                output = output.get(node_type, f"a dict of {types}")
            # The pair (h, None), or a node type without logits.
            absent = output is None and self.tap is None
            absent |= node_type is not None and isinstance(output, str | None)
            if absent and name[0] == "z" and h is not None:
                continue
            if hasattr(output, "full_tensor"):  # a DTensor, of a sharded teacher
                output = output.full_tensor()
            if not isinstance(output, Tensor):
                got = output if isinstance(output, str) else describe(output)
                raise TypeError(
                    f"{WHERE}: {name} must be a tensor; got {got}. Pass "
                    "forward=lambda model, batch: ... which returns the logits, or with tap=None "
                    "the pair (h, z)."
                )
            check_matrix(WHERE, name, output)
            found[name[0]] = output
        return found

    def cast(self, name: str, rows: Tensor) -> Tensor:
        """The rows in the kept dtype, on the CPU; raises if a number does not fit, warns of NaN."""
        cast = rows.to(self.dtype)
        if cast.isfinite().all():
            return cast.cpu()
        if rows.isnan().any():
            warnings.warn(f"{WHERE}: {name} holds NaN; losses of such rows are NaN.", stacklevel=2)
        if (rows.isfinite() & ~cast.isfinite()).any():
            largest = rows[rows.isfinite()].abs().max().item()
            raise ValueError(
                f"{WHERE}: {name} reaches {largest:.4g}, which {self.dtype} cannot hold (at most "
                f"{torch.finfo(self.dtype).max:.4g}). Pass dtype=torch.bfloat16 or torch.float32."
            )
        return cast.cpu()


def _call(model: Any, batch: Any) -> Any:
    """Call ``model(x, edge_index)``, by type if the graph is heterogeneous."""
    nodes, edges = getattr(batch, "node_stores", []), getattr(batch, "edge_stores", [])
    graph = "edge_index" if any("edge_index" in store for store in edges) else "adj_t"
    if not any("x" in store for store in nodes) or not any(graph in store for store in edges):
        raise ValueError(
            f"{WHERE}: the batch has no x or no edge_index, so that model(x, edge_index) cannot "
            "be called. Pass forward=lambda model, batch: ..."
        )
    suffix = "_dict" if hasattr(batch, "node_types") else ""
    given = getattr(batch, f"x{suffix}"), getattr(batch, f"{graph}{suffix}")
    held = [name + suffix for name in _OF_EDGES if any(name in store for store in edges)]
    _check_call(model, given, held)
    return model(*given)


def _check_call(model: Any, given: tuple[Any, Any], left: list[str]) -> None:
    """Raise if the teacher takes no such arguments; warn of what else it takes and is ``left``."""
    try:
        signature = inspect.signature(model.forward)
    except (AttributeError, TypeError, ValueError):  # compiled by another language, or no Module
        return
    try:
        signature.bind(*given)
    except TypeError as error:
        raise TypeError(
            f"{WHERE}: model(x, edge_index) cannot be called, as forward{signature} has other "
            "arguments. Pass forward=lambda model, batch: ..."
        ) from error
    if lost := [name for name in left if name in signature.parameters]:
        warnings.warn(
            f"{WHERE}: the data have {' and '.join(lost)}, which the teacher takes, and "
            "model(x, edge_index) leaves out. Pass forward=lambda model, batch: "
            f"model(batch.x, batch.edge_index, {', '.join(f'{n}=batch.{n}' for n in lost)}).",
            stacklevel=2,
        )
