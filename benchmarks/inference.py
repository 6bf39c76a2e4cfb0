"""What a student of the study saves when it predicts: time and reads, against its teacher.

    python benchmarks/inference.py --root data           # all pairs of results/study; minutes
    python benchmarks/inference.py --datasets Digits     # those of some data sets

Both predict with the options that the study chose, in evaluation mode and without gradients, on one
thread of a CPU, in process time, turn by turn; the ratio is taken turn by turn. "all" is one pass
over the graph, or over the graphs of the test in batches. "one" is a prediction for a single test
node, or a single graph: a GNN computes on the node's neighbourhood, of as many hops as it has
layers, which has been cut out before the clock starts. SIGN reads its hops, which have been
computed before, too. "reads" is how many rows of features it needs, the mean over the nodes.
Of graphs with several types of nodes, there is no "one". Writes results/inference.json.
"""

import argparse
import json
import platform
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _measure as measure
import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch_geometric.data import Batch, Data
from torch_geometric.utils import k_hop_subgraph

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from examples.study import data, models, plan  # noqa: E402
from examples.study.data import Problem  # noqa: E402
from examples.study.statistics import NONE, Column, read  # noqa: E402

SINGLES, SECONDS = 32, 2.0
TRAINING = ("lr", "weight_decay")  # options that are not the model's
# A model and the options that it was built with.
Built = tuple[nn.Module, dict[str, Any]]


def built(which: plan.Spec, options: dict[str, Any], problem: Problem) -> Built:
    made = {**which.fixed, **options}
    made = {name: value for name, value in made.items() if name not in TRAINING}
    torch.manual_seed(0)
    return models.build(which.name, problem, made).eval(), made


def whole(problem: Problem) -> list[Data]:
    """What "all" passes over: the graph, or batches of the graphs of the test."""
    graphs = problem.held["test"]
    if not problem.many:
        return graphs
    size = problem.batch
    return [Batch.from_data_list(graphs[i : i + size]) for i in range(0, len(graphs), size)]


def singles(problem: Problem, name: str, options: dict[str, Any]) -> list[Data]:
    """What "one" passes over: some neighbourhoods or rows of test nodes, or some graphs."""
    generator = torch.Generator().manual_seed(0)
    graphs = problem.held["test"]
    if problem.per_graph:
        some = torch.randperm(len(graphs), generator=generator)[:SINGLES]
        return [Batch.from_data_list([graphs[i]]) for i in some.tolist()]
    (graph,) = graphs
    nodes = data.rows(graph, "test").nonzero().view(-1)
    nodes = nodes[torch.randperm(len(nodes), generator=generator)[:SINGLES]]
    if name in ("MLP", "SIGN"):
        columns = ["x", *(f"x{k}" for k in range(1, data.HOPS + 1))]
        return [Data(**{column: graph[column][[i]] for column in columns}) for i in nodes.tolist()]
    found = []
    for node in nodes.tolist():
        rows, edges, _, _ = k_hop_subgraph(
            node, options["layers"], graph.edge_index, relabel_nodes=True, num_nodes=graph.num_nodes
        )
        found.append(Data(x=graph.x[rows], edge_index=edges))
    return found


def passes(model: nn.Module, inputs: list[Data]) -> Callable[[], None]:
    @torch.no_grad()
    def step() -> None:
        for one in inputs:
            model(one)

    return step


def compare(teacher: list[Data], student: list[Data], pair: tuple[Built, Built]) -> dict[str, Any]:
    """The teacher's time over the student's, and the seconds of each for one of the inputs."""
    (first, _), (second, _) = pair
    steps = {"teacher": passes(first, teacher), "student": passes(second, student)}
    times = measure.interleave(steps, SECONDS, "cpu", wall=False)
    ratios = [a / b for a, b in zip(times["teacher"], times["student"], strict=True)]
    middle = {role: measure.spread(values)["median"] for role, values in times.items()}
    return {"speed": measure.spread(ratios), **middle}


def rows_of(inputs: list[Data]) -> float:
    return statistics.fmean(one.num_nodes for one in inputs)


def run(column: Column, root: str) -> dict[str, Any]:
    problem = data.problem(column.dataset, root, 0)
    pair = (
        built(plan.TEACHERS[column.teacher], column.teaching.options, problem),
        built(plan.STUDENTS[column.student], column.cells[NONE].options, problem),
    )
    result: dict[str, Any] = {
        "dataset": column.dataset,
        "teacher": column.teacher,
        "student": column.student,
        "parameters": [models.parameters(model) for model, _ in pair],
        "all": compare(whole(problem), whole(problem), pair),
    }
    if problem.task != "hetero":
        names = plan.TEACHERS[column.teacher].name, plan.STUDENTS[column.student].name
        ones = [
            singles(problem, name, options) for name, (_, options) in zip(names, pair, strict=True)
        ]
        result["one"] = compare(*ones, pair) | {"reads": [rows_of(some) for some in ones]}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--datasets", nargs="+", metavar="NAME", help="default: all that were run")
    parser.add_argument("--study", type=Path, default=HERE / "results" / "study", help="its folder")
    parser.add_argument("--root", default="data", help="the folder of all data sets (%(default)s)")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "inference.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    console, records = Console(highlight=False), []
    board = Table("data, pair", "parameters", "all: speed", "one: reads", "one: speed")
    columns = [
        column
        for found in read(args.study)
        for column in found.columns
        if found.header["setting"] == "transductive"
        and column.teaching is not None
        and NONE in column.cells
        and (args.datasets is None or column.dataset in args.datasets)
    ]
    for column in columns:
        console.print(f"{column.dataset}, {column.name} ...")
        row = run(column, args.root)
        records.append(row)
        one = row.get("one")
        last = (
            (" → ".join(f"{n:.0f}" for n in one["reads"]), f"{one['speed']['median']:.1f}")
            if one
            else ("–", "–")
        )
        sizes = " → ".join(f"{n:,}" for n in row["parameters"])
        speed = f"{row['all']['speed']['median']:.1f}"
        board.add_row(f"{column.dataset}, {column.name}", sizes, speed, *last)
    console.print(board)
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    args.out.write_text(json.dumps({"versions": versions, "pairs": records}, indent=1) + "\n")


if __name__ == "__main__":
    main()
