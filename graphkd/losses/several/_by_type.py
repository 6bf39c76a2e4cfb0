"""Dictionaries by node type and edge type: which value belongs to which type."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from graphkd._checks import describe, tensors_in
from graphkd._precision import upcast
from graphkd.functional.several._combine import located
from graphkd.losses._base import DistillationLoss, arguments_of
from graphkd.losses.several._inner import OuterLoss
from graphkd.losses.several.weighted import WeightedSum

Type: TypeAlias = str | tuple[str, str, str]
_Result = TypeVar("_Result")

# The models' outputs: a type without them is not in the batch.
OUTPUTS = ("h_s", "h_t", "z_s", "z_t")
# What has an entry for each edge: an edge type has no other's.
OF_EDGES = ("edge_index", "edge_weight")
BY_TYPE = (*OUTPUTS, *OF_EDGES, "index", "weight")


def types_of(metadata: Any) -> tuple[Type, ...]:
    if not isinstance(metadata, Sequence) or isinstance(metadata, str) or len(metadata) != 2:
        raise TypeError(
            "HeteroLoss: metadata must be (node types, edge types), as data.metadata() gives them; "
            f"got {describe(metadata)}."
        )
    nodes, edges = metadata
    return (*nodes, *(tuple(edge) for edge in edges))


def module_name(key: Type) -> str:
    """A readable name for a ModuleDict, which allows no tuples, no dots and none of its own names.

    >>> module_name(("author", "writes", "paper")), module_name("a.b"), module_name("keys")
    ('author__writes__paper', 'a#b', '<keys>')
    """
    name = (key if isinstance(key, str) else "__".join(key)).replace(".", "#")
    return f"<{name}>" if not name or hasattr(nn.ModuleDict(), name) else name


def title(key: Any) -> str:
    return f"{'node' if isinstance(key, str) else 'edge'} type {key!r}"


def listed(keys: Iterable[Any]) -> str:
    return ", ".join(sorted(map(repr, keys))) or "nothing"


def contents(key: Type, by_type: dict[str, Mapping[Any, Any]]) -> str:
    names = [name for name in (*OUTPUTS, "edge_index") if name in by_type]
    if isinstance(key, str):
        names = [name for name in names if name != "edge_index"]
    held = (f"{name} has {listed(_given(by_type[name]))}" for name in names)
    return "; ".join(held) or "no dictionary was given"


def own_arguments(
    key: Type, takes: set[str], by_type: dict[str, Mapping[Any, Any]]
) -> dict[str, Any] | None:
    """The arguments of one type; None if the type is not in the batch."""
    asked = [name for name in by_type if name in takes]
    found = {name: _value_of(key, name, by_type[name]) for name in asked}
    own = {name: value for name, value in found.items() if value is not None}
    outputs = [name for name in asked if name in OUTPUTS]
    present = [name for name in outputs if name in own]
    without_edges = "edge_index" in asked and "edge_index" not in own and isinstance(key, tuple)
    if without_edges or (outputs and not present):
        return None
    for name in outputs:
        if name not in own:
            raise ValueError(
                f"HeteroLoss: {title(key)} is in {present[0]}, but {name} lacks it: {name} has "
                f"{listed(_given(by_type[name]))}." + _of_none(key, name, by_type[name], present[0])
            )
    return own


def _given(values: Mapping[Any, Any]) -> list[Any]:
    """The types that have a value: a model may give None for a type without messages."""
    return [key for key, value in values.items() if value is not None]


def _of_none(key: Type, name: str, values: Mapping[Any, Any], other: str) -> str:
    """What to do where an output is None and that of the other side is not."""
    ends = (key,) if isinstance(key, str) else (key[0], key[-1]) if name[0] == "h" else (key[-1],)
    none = next((end for end in ends if end in values and values[end] is None), None)
    if none is None:
        return ""
    return (
        f" {name}[{none!r}] is None, as HANConv gives it for a type that no edge of the batch "
        f"leads to. Leave the type out of {other} too, and build HeteroLoss with "
        "metadata=data.metadata()."
    )


def _value_of(key: Type, name: str, values: Mapping[Any, Any]) -> Any:
    """The value of a type in a dictionary, by the rule of PyG's HeteroConv; None if absent."""
    if key in values or isinstance(key, str) or name in OF_EDGES:
        return values.get(key)
    src, _, dst = key
    if name not in ("h_s", "h_t") or src == dst:
        return values.get(dst)  # one entry per row or centre of the target type
    if values.get(src) is None or values.get(dst) is None:
        return None
    return _joined(key, name, values[src], values[dst])


def _joined(key: Type, name: str, sources: Any, targets: Any) -> Any:
    """The pair of sources and targets; of several layers or teachers, the pair of each."""
    several = [h for h in (sources, targets) if not isinstance(h, Tensor)]
    if not several:
        return sources, targets
    both = isinstance(sources, Mapping) and isinstance(targets, Mapping)
    if both and sources.keys() == targets.keys():
        return {layer: (sources[layer], targets[layer]) for layer in sources}
    listed = all(isinstance(h, Sequence) for h in (sources, targets))
    if listed and len(sources) == len(targets):
        return [*zip(sources, targets, strict=True)]
    raise ValueError(
        f"HeteroLoss: {title(key)} joins sources and targets layer by layer, but {name} has "
        f"{_several(sources)} for {key[0]!r} and {_several(targets)} for {key[-1]!r}. Give both "
        "types as many, and name them alike."
    )


def _several(h: Any) -> str:
    if isinstance(h, Mapping):
        return f"a dictionary of {listed(h)}"
    return f"a list of {len(h)}" if isinstance(h, list | tuple) else describe(h)


def of_one_type(key: Type, loss: nn.Module) -> str | None:
    """The name of a loss that compares embeddings of one type, if the edge type joins two.

    Raises:
        TypeError: If it takes the edges: it would read a source's number as a target's.
    """
    found = None
    if isinstance(key, str) or key[0] == key[-1]:
        return found
    for one in _ours(loss):
        takes, needs = arguments_of(one)
        if "edge_index" in needs or getattr(one, "head_takes_edges", False):
            raise TypeError(joins_two(key, type(one).__name__))
        found = type(one).__name__ if "h_s" in takes else found
    return found


def joins_two(key: Type, loss: str) -> str:
    return (
        f"HeteroLoss: {loss} compares nodes of one type, and {title(key)} joins two. Use LSPLoss "
        "there; or give the loss to a node type, or to an edge type whose ends are one."
    )


def _ours(loss: Any) -> Iterator[DistillationLoss]:
    """The losses of this package in a sum, or in a loss over layers or teachers."""
    loss = getattr(loss, "_orig_mod", loss)
    if isinstance(loss, WeightedSum | OuterLoss):
        for one in loss.losses.children():
            yield from _ours(one)
    elif isinstance(loss, DistillationLoss) and not loss.takes_pairs:
        yield loss


def is_pair(key: Type, name: str, by_type: dict[str, Mapping[Any, Any]]) -> bool:
    """Whether an edge type gets sources and targets, which are two types, and no own rows."""
    return isinstance(key, tuple) and key[0] != key[-1] and key not in by_type.get(name, {key})


def attached_zero(by_type: dict[str, Mapping[Any, Any]]) -> Tensor:
    """0, attached to all outputs of the student."""
    rows = tensors_in([by_type.get(name, {}) for name in ("h_s", "z_s")])
    zeros = [upcast(h[:0]).sum() for h in rows]
    here = next(tensors_in(list(by_type.values())), None)
    total = zeros[0] if zeros else torch.zeros((), device=None if here is None else here.device)
    for zero in zeros[1:]:
        total = total + zero
    return total


def naming(key: Type, call: Callable[..., _Result], /, *args: Any, **options: Any) -> _Result:
    """Call, and let errors name the type."""
    kind = "node type" if isinstance(key, str) else "edge type"
    return located("HeteroLoss", kind, key, call, *args, **options)
