"""One call of the objective, as the checks read it: arguments by name, sides, rows, and terms."""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from graphkd.losses._base import arguments_of
from graphkd.losses.several.hetero import HeteroLoss
from graphkd.losses.several.weighted import WeightedSum


@dataclass
class Term:
    """A loss of the objective, with what it got and returned."""

    name: str
    loss: nn.Module
    value: Tensor
    arguments: dict[str, Any]
    weight: float | None = 1.0
    """What the objective multiplies it by; None if the objective does not depend on it."""
    queued: int = 0
    """How many keys of other nodes its queue held before the call."""


@dataclass
class Projection:
    """What a head of a loss got and returned, detached."""

    term: str
    side: str
    head: nn.Module
    rows: Tensor
    projected: Tensor


@dataclass
class Call:
    """One call of the objective that the checks look at.

    The tensors are the user's own. A check keeps numbers of them, never the tensors.
    """

    step: int
    """The number of calls in training before this one."""
    every: int
    training: bool
    objective: nn.Module
    arguments: dict[str, Any]
    task_loss: Tensor | None = None
    y: Any = None
    student: nn.Module | None = None
    teacher: nn.Module | None = None
    optimizers: tuple[torch.optim.Optimizer, ...] = ()
    total: Tensor | None = None
    terms: list[Term] = field(default_factory=list)
    """What the objective adds up."""
    parts: list[Term] = field(default_factory=list)
    """The losses of this package in it: terms, and the losses inside of them."""
    projections: list[Projection] = field(default_factory=list)

    def side(self, which: str) -> list[tuple[str, Tensor]]:
        """The student's (``"s"``) or the teacher's (``"t"``) tensors, by name."""
        names = [name for name in self.arguments if side_of(name) == which]
        return [pair for name in names for pair in named_tensors(name, self.arguments[name])]

    def rows(self, label: str, h: Tensor) -> Tensor:
        """The rows of a side's tensor that take part, detached."""
        index, h = self.arguments.get("index"), h.detach()
        if isinstance(index, Mapping):
            index = next((part for key, part in index.items() if f"[{key!r}]" in label), None)
        if not isinstance(index, Tensor) or index.dim() != 1 or h.dim() < 1:
            return h
        if index.dtype == torch.bool and index.shape != h.shape[:1]:
            return h
        return h[index]


def named_tensors(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors in nested lists, tuples and dictionaries, each with the expression for it."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, (list, tuple, Mapping)):
        parts = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, part in parts:
            yield from named_tensors(f"{name}[{key!r}]", part)


def side_of(name: str) -> str | None:
    """Whose an argument is, by its name: "s" for the student, "t" for the teacher, else None."""
    lower = name.lower()
    for side, word in (("s", "student"), ("t", "teacher")):
        if lower in (f"h_{side}", f"z_{side}") or word in lower or lower.endswith(f"_{side}"):
            return side
    return None


def is_logits(label: str) -> bool:
    """Whether a side's tensor holds logits, by its name."""
    return label.startswith("z") or "logit" in label.lower()


def spread(h: Tensor, most: int) -> Tensor:
    """At most so many rows of a matrix, evenly spread."""
    return h[:: -(-h.size(0) // most)] if h.size(0) > most else h


def _parameters(loss: nn.Module) -> tuple[inspect.Parameter, ...]:
    """The parameters of a Module's forward."""
    return _signature(type(loss).forward)


@functools.cache
def _signature(forward: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    """The parameters of a method, without self. Python takes long to find them."""
    return tuple(inspect.signature(forward).parameters.values())[1:]


def unwrapped(objective: nn.Module) -> nn.Module:
    """The loss inside the wrappers of torch.compile and DistributedDataParallel."""
    while True:
        parameters = _parameters(objective)
        names = any(p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) for p in parameters)
        inner = getattr(objective, "_orig_mod", getattr(objective, "module", None))
        wrapper = "_orig_mod" in objective._modules or not names
        if not wrapper or not isinstance(inner, nn.Module):
            return objective
        objective = inner


def taken_by(objective: nn.Module) -> set[str]:
    """The names of the keywords that a call of the objective may have."""
    loss = unwrapped(objective)
    if isinstance(loss, WeightedSum):
        return {"task_loss"}.union(*(takes for takes, _ in loss._takes.values()))
    if isinstance(loss, HeteroLoss):
        return {name for takes in loss._takes.values() for name in takes}
    names = set(arguments_of(loss)[0])
    if any(p.kind is p.VAR_KEYWORD for p in _parameters(loss)):
        # It hands them on to what it holds.
        names = names.union(*(taken_by(part) for part in loss.children()))
    return names


def by_name(objective: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call by their names, without PyG's ending ``_dict``."""
    loss = unwrapped(objective)
    positional = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = [p.name for p in _parameters(loss) if p.kind in positional]
    if callable(own := getattr(loss, "names_of_arguments", None)):
        sides = own()[0][:2]  # of an inner loss of logits: z_s and z_t
        names = [*sides, *names[2:]]
    names += [f"argument {at}" for at in range(len(names), len(args))]
    found = {**dict(zip(names, args, strict=False)), **kwargs}
    found = {name.removesuffix("_dict"): value for name, value in found.items()}
    if len(args) >= 2 and not any(side_of(name) for name in found):
        # By the rule of all losses, the student comes first and the teacher second.
        first, second = names[:2]
        found = {"h_s": found.pop(first), "h_t": found.pop(second), **found}
    return {name: value for name, value in found.items() if value is not None}
