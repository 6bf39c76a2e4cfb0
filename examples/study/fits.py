"""Whether methods fit a data set, which is asked before anything runs."""

import torch
from torch_geometric.data import Data
from torch_geometric.nn import GCN

from . import methods, plan
from .data import Problem
from .methods import BESIDE, Case, Setting, Teacher, parts
from .names import named


def lacking(method: str, problem: Problem) -> str | None:
    """What the method needs and the data set does not have, if there is such a thing."""
    of_types = problem.task == "hetero"
    has = {
        "one graph of one node type": not (problem.many or of_types),
        "one graph": not problem.many,
        "one node type": not of_types,
        "labels of nodes": not problem.per_graph,
        "one class for each row": problem.kind not in ("multilabel", "regression"),
        "three classes or more": problem.outputs > 2,
        "many graphs": problem.many,
    }
    return next((need for need in methods.needs(plan.loss_of(method)) if not has[need]), None)


def check(wanted: list[str], problem: Problem, dataset: str, max_samples: int) -> None:
    """Raise SystemExit if a method does not fit; it says why."""
    for method in wanted:
        need = lacking(method, problem)
        reason = f"it needs {need}" if need else refusal(method, problem, max_samples)
        if reason is not None:
            raise SystemExit(f"{method} does not fit {dataset}: {reason.rstrip('.')}.")


def refusal(method: str, problem: Problem, max_samples: int) -> str | None:
    """Why the method's losses cannot be built, by building them for a few rows."""
    name = plan.loss_of(method)
    losses = [named(part)[0] for part in parts(name)]
    if len({*losses}) < len(losses):
        return "it names a loss twice"
    for loss, beside in BESIDE.items():
        if loss in losses and (losses[-1] != loss or {*losses[:-1]} - beside):
            return " or ".join([f"{loss} stands alone", *(f"after {one}" for one in beside)])
    tuned = "temperature" in plan.space(method, 0.0, problem.kind)
    settings = {"kd": Setting(1.0), name: Setting(1.0, 0.5 if tuned else None)}
    try:
        methods.objective(name, settings, small(problem, max_samples))
    except (TypeError, ValueError) as error:
        return " ".join(str(error).replace("<lambda>()", losses[-1]).split())
    return None


def small(problem: Problem, max_samples: int) -> Case:
    """A case of the data set's kind, with a ring of a few nodes for its graph."""
    n = torch.arange(8)
    ring = Data(
        x=torch.randn(8, 4), edge_index=torch.stack([n, n.roll(1)]), train_mask=n < 4, num_nodes=8
    )
    outputs = max(problem.outputs, 2)
    teacher = Teacher(GCN(4, 8, 2, outputs).eval(), torch.randn(8, 8), torch.randn(8, outputs))
    task = problem.kind if problem.kind in ("multilabel", "regression") else "multiclass"
    return Case(8, 8, ring, teacher, task=task, max_samples=max_samples)
