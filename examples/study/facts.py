"""What a data set and its models are, as JSON beside the runs: sizes, split, metric, parameters.

The runs do not hold this, since it follows from the data and from plan.py. The tables show it, and
are made where the data are not.
"""

import json
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from . import data, fit, models
from .data import Problem, rows
from .schedule import Results
from .work import Known, Limits, chosen, spec

# What has labels, by task.
ROWS = {
    "node": "nodes", "graph": "graphs", "hetero": "nodes of one type", "points": "points",
}  # fmt: skip


def write(results: Results, limits: Limits) -> None:
    """Write the facts beside the file of the runs, under its name with the ending .json."""
    facts, path = describe(results, limits), results.path.with_suffix(".json")
    aside = path.with_suffix(".part")  # a killed run leaves no half of a file
    aside.write_text(json.dumps(facts, indent=1) + "\n")
    aside.replace(path)


def describe(results: Results, limits: Limits) -> dict[str, Any]:
    first, second = (
        data.problem(results.dataset, limits.root, seed, results.setting) for seed in (0, 1)
    )
    graphs = first.held["test"]
    if len(first.learn) > 1:
        graphs = [*first.learn, *first.held["val"], *first.held["test"]]
    return {
        "kind": first.kind,
        "metric": fit.metric(first),
        "rows_are": ROWS[first.task],
        "graphs": len(graphs),
        "nodes": sum(graph.num_nodes for graph in graphs),
        "edges": sum(graph.num_edges for graph in graphs),
        "features": first.features,
        "outputs": first.outputs,
        "rows": {"train": count(first, first.learn, "train")}
        | {part: count(first, held, part) for part, held in first.held.items()},
        "split_is_drawn": not torch.equal(learned(first), learned(second)),
        "parameters": parameters(results, first, limits),
    }


def count(problem: Problem, graphs: list[Data], part: str) -> int:
    """The rows of a part: graphs, or nodes; of points, those with a label."""
    if problem.per_graph:
        return len(graphs)
    labels = [graph.y[rows(graph, part)] for graph in graphs]
    if problem.task == "points":
        labels = [y[y >= 0] for y in labels]
    return sum(map(len, labels))


def learned(problem: Problem) -> Tensor:
    """What shows whether two seeds learn from the same rows: their mask, or their labels."""
    if "train_mask" in problem.learn[0]:
        return torch.cat([graph.train_mask for graph in problem.learn])
    return torch.cat([graph.y.float().nan_to_num(-1) for graph in problem.learn])


def parameters(results: Results, problem: Problem, limits: Limits) -> dict[str, int]:
    """Of each model whose options have been chosen, as "teacher GAT" or "student GCN"."""
    found = {}
    for job, lines in results.lines.items():
        options = chosen(job, lines, Known(), limits) if job.method is None else None
        if options is not None:
            which = spec(job)
            options = {**which.fixed, **options}
            made = {k: v for k, v in options.items() if k not in ("lr", "weight_decay")}
            role = "teacher" if job.is_teacher else "student"
            model = models.build(which.name, problem, made)
            found[f"{role} {job.model}"] = models.parameters(model)
    return found
