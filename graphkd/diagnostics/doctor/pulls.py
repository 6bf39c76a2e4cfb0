"""How hard each term and the task pull on the student: measured at one place for both."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from graphkd.diagnostics.doctor.call import Call, Term, is_logits
from graphkd.losses._gradients import gradients_at, joint_norm, through_float16

# So many operations before a student's rows, such as the selection of a batch, are looked through.
_OPERATIONS = 16


class Pull(NamedTuple):
    """The pull of a term beside the task's, at the same place."""

    term: str
    norm: float
    """Of the gradient of the term times its weight."""
    task: float | None
    """Of the task's gradient; None without a task loss or a place that both depend on."""
    cosine: float
    """Between the two; NaN if there is none."""
    on_task: float
    """The cosine on those rows alone on which the task pulls."""
    place: str
    negative: bool
    """Whether the objective subtracts it."""


class Outer:
    """What a total and a task loss are multiplied by before the backward pass."""

    def __init__(self, total: Tensor, task_loss: Tensor | None) -> None:
        self._seen: dict[str, Tensor] = {}
        for name, value in (("total", total), ("task", task_loss)):
            if value is not None and value.requires_grad:
                value.register_hook(self._keeping(name))  # type: ignore[no-untyped-call]

    def _keeping(self, name: str) -> Any:
        def keep(gradient: Tensor) -> None:
            self._seen.setdefault(name, gradient.detach().sum())

        return keep

    @property
    def factor(self) -> float:
        """The user's own weight of the total, beside the task's; 1 if no backward pass told.

        A GradScaler multiplies both, so that the ratio is without it.
        """
        if len(self._seen) < 2 or not float(self._seen["task"]):
            return 1.0
        return float(self._seen["total"]) / float(self._seen["task"])


def measure(call: Call) -> list[Pull]:
    """The pulls of all terms of a call."""
    if any(_is_shared_by_ranks(module) for module in call.objective.modules()):
        return []  # its backward pass is one of all ranks, which must agree on every one
    student = {id(h): (label, h) for label, h in call.side("s") if h.requires_grad}
    labels, tensors = [label for label, _ in student.values()], [h for _, h in student.values()]
    task = call.task_loss
    device = (task if task is not None else call.terms[0].value).device.type
    half = through_float16(device, [task, *(term.value for term in call.terms)])
    here = _gradients(task, tensors, half)
    pulls = []
    for term in call.terms:
        if not term.weight:
            continue  # a weight of 0 is meant
        mine = _gradients(term.value, tensors, half)
        groups = [[i for i, k in enumerate(labels) if is_logits(k) is z] for z in (False, True)]
        place = next((g for g in groups if _any(mine, g) and _any(here, g)), None)
        if place is not None:
            names = {labels[i].partition("[")[0] for i in place}
            both = [mine[i] for i in place], [here[i] for i in place]
            pulls.append(_pull(term, *both, " and ".join(sorted(names))))
        elif task is not None and (found := _elsewhere(call, term, task, tensors, half)):
            pulls.append(found)
        else:
            first = next((g for g in groups if _any(mine, g)), [])
            place_name = labels[first[0]].partition("[")[0] if first else "the student"
            pulls.append(_pull(term, [mine[i] for i in first], None, place_name))
    return pulls


def _elsewhere(
    call: Call, term: Term, task: Tensor, tensors: list[Tensor], half: bool
) -> Pull | None:
    """The pull where both meet: before the student's rows were selected, or at the parameters."""
    places: list[tuple[str, Any]] = [
        ("what the student's rows were taken from", edge) for h in tensors for edge in _before(h)
    ]
    parameters = [("the student's parameters", p) for p in _parameters(call)]
    for candidates in (places, parameters):
        edges = [place for _, place in candidates]
        if not edges:
            continue
        here, mine = _gradients(task, edges, half), _gradients(term.value, edges, half)
        both = [i for i in range(len(edges)) if here[i] is not None and mine[i] is not None]
        if both:
            # Of a chain of operations one place is enough, of the parameters all count.
            both = both[:1] if candidates is places else both
            sides = [mine[i] for i in both], [here[i] for i in both]
            return _pull(term, *sides, candidates[0][0])
    return None


def _before(h: Tensor) -> list[Any]:
    """The places in autograd's graph before a tensor, as long as there is one way back."""
    node: Any = h.grad_fn
    found: list[Any] = []
    for _ in range(_OPERATIONS):
        if node is None:
            break
        edges = [e for e in node.next_functions if e[0] is not None]
        inner = [e for e in edges if not hasattr(e[0], "variable")]
        if len(inner) != 1:
            break
        found.append(torch.autograd.graph.GradientEdge(inner[0][0], inner[0][1]))
        node = inner[0][0]
    return found


def _parameters(call: Call) -> list[Tensor]:
    own = {id(p) for p in call.objective.parameters()}
    if call.student is not None:
        candidates: Any = call.student.parameters()
    else:
        groups = (group for o in call.optimizers for group in o.param_groups)
        candidates = (p for group in groups for p in group["params"])
    return [p for p in candidates if p.requires_grad and id(p) not in own]


def _gradients(loss: Tensor | None, places: Sequence[Any], half: bool) -> list[Tensor | None]:
    if loss is None or not places:
        return [None for _ in places]
    loss = loss if loss.dim() == 0 else loss.mean()
    found, scale = gradients_at(loss, places, half)
    # Autograd may have returned a tensor that the user's backward pass needs.
    return [None if g is None else g / scale for g in found]


def _any(gradients: list[Tensor | None], at: list[int]) -> bool:
    return any(gradients[i] is not None for i in at)


def _pull(
    term: Term, mine: list[Tensor | None], task: list[Tensor | None] | None, place: str
) -> Pull:
    weight = 1.0 if term.weight is None else term.weight
    norm = float(joint_norm(mine)) * abs(weight)
    if task is None:
        return Pull(term.name, norm, None, math.nan, math.nan, place, weight < 0)
    pairs = [(g, t) for g, t in zip(mine, task, strict=True) if g is not None and t is not None]
    # The task pulls on few rows, if few are labelled.
    rows = [t.abs().flatten(1).amax(dim=1) != 0 if t.dim() > 1 else t != 0 for _, t in pairs]
    taught = [(g[r], t[r]) for r, (g, t) in zip(rows, pairs, strict=True)]
    inner = weight * sum(float((g * t).sum()) for g, t in taught)
    near = float(joint_norm([g for g, _ in taught])) * abs(weight)
    other = float(joint_norm(task))
    cosine, on_task = (inner / (n * other) if n and other else math.nan for n in (norm, near))
    return Pull(term.name, norm, other, cosine, on_task, place, weight < 0)


def _is_shared_by_ranks(module: nn.Module) -> bool:
    group = getattr(module, "process_group", None)
    return group is not None and group.size() > 1
