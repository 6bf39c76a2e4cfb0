"""Hooks on the losses inside an objective and on their heads, for the time of one call."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from graphkd.diagnostics.doctor.call import Call, Projection, Term, by_name, unwrapped
from graphkd.heads import changes_nothing
from graphkd.losses._base import DistillationLoss, ProjectedLoss
from graphkd.losses.several.hetero import HeteroLoss
from graphkd.losses.several.weighted import WeightedSum


class Watch:
    """The terms and projections of one call; the hooks are gone when it leaves its context."""

    def __init__(self, objective: nn.Module) -> None:
        self.objective = objective
        self.terms: list[Term] = []
        self.inner: list[Term] = []
        self.projections: list[Projection] = []
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> "Watch":
        if any(_is_compiled(module) for module in self.objective.modules()):
            return self  # a hook would compile anew what it hangs on
        names: dict[int, list[str]] = {}
        losses: dict[int, nn.Module] = {}
        for name, loss in named_losses(unwrapped(self.objective)):
            names.setdefault(id(loss), []).append(name)
            losses[id(loss)] = loss
        for key, loss in losses.items():
            self._hook(loss, names[key], self.terms)
            for part in loss.modules():
                if isinstance(part, DistillationLoss) and part is not unwrapped(loss):
                    self._hook(part, names[key], self.inner)
                if isinstance(part, ProjectedLoss):
                    for side, head in (("h_s", part.head_s), ("h_t", part.head_t)):
                        if not changes_nothing(head):
                            self._hook_head(names[key][0], side, head)
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _hook(self, loss: nn.Module, names: list[str], kept: list[Term]) -> None:
        calls, queued = iter(names), [0]

        def before(module: nn.Module, args: Any, kwargs: Any) -> None:
            queued[0] = _queued(unwrapped(module), kwargs.get("ids"))

        def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            name, inner = next(calls, names[-1]), unwrapped(module)
            if isinstance(output, Tensor) and output.is_floating_point():
                kept.append(Term(name, inner, output, by_name(module, args, kwargs), 1.0, *queued))

        if getattr(unwrapped(loss), "queue", None) is not None:
            self._handles.append(loss.register_forward_pre_hook(before, with_kwargs=True))
        self._handles.append(loss.register_forward_hook(after, with_kwargs=True))

    def _hook_head(self, term: str, side: str, head: nn.Module) -> None:
        def projection(module: nn.Module, args: Any, output: Any) -> None:
            if args and isinstance(args[0], Tensor) and isinstance(output, Tensor):
                sides = args[0].detach(), output.detach()
                self.projections.append(Projection(term, side, module, *sides))

        self._handles.append(head.register_forward_hook(projection))


def named_losses(objective: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The losses that the objective adds up, each with the name to report it by."""
    if isinstance(objective, WeightedSum):
        yield from objective.losses.items()
    elif isinstance(objective, HeteroLoss):
        for key, place in objective.names.items():
            by_type: Any = objective.losses[place]
            for name, loss in by_type.losses.items():
                yield (f"{key!r}" if key in objective._single else f"{key!r}: {name}"), loss
    elif isinstance(objective, DistillationLoss):
        yield type(objective).__name__, objective
    else:
        for name, part in objective.named_children():
            found = list(named_losses(part))
            single = isinstance(unwrapped(part), DistillationLoss)
            yield from ((name if single else inner, loss) for inner, loss in found)


def complete(call: Call, watch: Watch, result: Any) -> None:
    """Fill in the total, and the terms with what the objective multiplies them by."""
    total = result[0] if isinstance(result, tuple) and result else result
    if not isinstance(total, Tensor):
        return
    call.total, call.projections = total, watch.projections
    terms = call.terms = watch.terms
    call.parts = [*terms, *watch.inner]
    if not terms:
        loss = unwrapped(call.objective)
        call.terms = [Term(type(loss).__name__, loss, total, call.arguments)]
    elif isinstance(loss := unwrapped(call.objective), WeightedSum):
        factors = loss.factors() if loss.balance else {}
        for term in terms:
            term.weight = loss.weights[term.name] * float(factors.get(term.name, 1.0))
    elif total.requires_grad and not any(term.value is total for term in terms):
        learning = [term for term in terms if term.value.requires_grad]
        values = [term.value for term in learning]
        slopes = torch.autograd.grad(total.mean(), values, retain_graph=True, allow_unused=True)
        for term, slope in zip(learning, slopes, strict=True):
            term.weight = None if slope is None else float(slope.sum())


def _queued(loss: Any, ids: Any) -> int:
    """How many keys a queue holds, but for those of the batch's own nodes."""
    there = loss.queue.ids >= 0
    if isinstance(ids, Tensor):
        there = there & ~torch.isin(loss.queue.ids, ids)
    return int(there.sum())


def _is_compiled(module: nn.Module) -> bool:
    return hasattr(module, "_orig_mod") or module._compiled_call_impl is not None
