"""The study on many graphs: data sets in one form, batches, levels, runs that were killed."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torch_geometric.utils import erdos_renyi_graph

from examples.study import __main__ as study
from examples.study import batches, checkpoint, data, fit, graphs, models, plan, schedule, work
from tests.test_example_files import write_lipo, write_molhiv, write_ppi, write_tox21

Lines = list[dict[str, Any]]


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, dataset: str, *flags: str) -> Lines:
    """The lines of a small study, without their times."""
    small = ("--trials", "1", "--tuning-seeds", "1", "--seeds", "1", "--epochs", "1", "--jobs", "1")
    places = ("--root", str(folder), "--out", str(folder / "out"), "--work", str(folder / "work"))
    monkeypatch.setattr(sys, "argv", ["study", "--datasets", dataset, *small, *places, *flags])
    study.main()
    file = folder / "out" / f"{dataset.replace(':', '-')}-transductive.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [line for line in lines if "phase" in line]


def some_graphs(count: int, y: Any, **more: Any) -> list[Data]:
    """Random graphs with categories, whose labels are those that `y` gives for their number."""
    found = []
    for i in range(count):
        n, edge_index = 4 + i % 3, erdos_renyi_graph(4 + i % 3, 0.5)
        own = {name: make(n, edge_index.size(1)) for name, make in more.items()}
        found.append(Data(edge_index=edge_index, num_nodes=n, y=y(i, n), **own))
    return found


# Data ---------------------------------------------------------------------------------------------

CODES = {
    "x": lambda n, e: torch.randint(3, (n, 2)),
    "edge_attr": lambda n, e: torch.randint(2, (e,)),
}


@pytest.mark.parametrize(
    ("y", "kind", "outputs"),
    [
        (lambda i, n: torch.tensor([i % 3]), "multiclass", 3),
        (lambda i, n: torch.tensor(float(i % 2)), "binary", 2),
        (lambda i, n: torch.tensor([[i % 4]]), "multiclass", 4),
        (lambda i, n: torch.tensor([[i % 2]]), "multilabel", 1),
        (lambda i, n: torch.tensor([[1.0, i % 2, torch.nan]]), "multilabel", 3),
        (lambda i, n: torch.tensor([i / 7]), "regression", 1),
        (
            lambda i, n: torch.tensor([[i / 7, 100.0 * i, torch.nan if i % 2 else i]]),
            "regression",
            3,
        ),
    ],
)
def test_labels_of_graphs_ask_for_their_task(
    y: Any, kind: str, outputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "load", lambda name, root: {"all": some_graphs(60, y, **CODES)})
    data._uniform.cache_clear()
    problem = data.problem("made", "nowhere", 0)
    assert (problem.kind, problem.outputs, problem.task) == (kind, outputs, "graph")
    assert [len(part) for part in (problem.learn, *problem.held.values())] == [48, 6, 6]
    again = data.problem("made", "nowhere", 1)
    assert all(a is b for a, b in zip(problem.held["test"], again.held["test"], strict=True))
    assert any(a is not b for a, b in zip(problem.held["val"], again.held["val"], strict=True))
    for name in ("GINE", "GCN", "GIN", "PNA"):
        model = models.build(
            name, problem, {"width": 4, "layers": 2, "dropout": 0.0, "norm": "batch_norm"}
        )
        found = fit.fit(model, problem, fit.Training(epochs=1))
        assert torch.tensor(found.validation).isfinite()


def test_graphs_without_features_get_their_degrees(tmp_path: Path) -> None:
    """As many sets of TUDataset, here in the layout of their files."""
    folder = tmp_path / "TUDataset" / "TINY" / "raw"
    folder.mkdir(parents=True)
    rings = [range(first, first + 3) for first in range(1, 181, 3)]
    edges = [(i, j) for ring in rings for i in ring for j in ring if i != j]
    (folder / "TINY_A.txt").write_text("".join(f"{i}, {j}\n" for i, j in edges))
    (folder / "TINY_graph_indicator.txt").write_text("".join(f"{1 + i // 3}\n" for i in range(180)))
    (folder / "TINY_graph_labels.txt").write_text("".join(f"{i % 2}\n" for i in range(60)))
    problem = data.problem("TUDataset:TINY", str(tmp_path), 0)
    assert problem.kind == "binary"
    assert problem.learn[0].x.tolist() == [[2], [2], [2]]
    # Each part has its share of each class.
    assert sum(int(graph.y) for graph in problem.held["test"]) == 3


def test_sets_that_come_in_parts(tmp_path: Path) -> None:
    folder = tmp_path / "LRGBDataset" / "peptides-func" / "raw"
    folder.mkdir(parents=True)
    for part, count in {"train": 20, "val": 8, "test": 8}.items():
        made = some_graphs(count, lambda i, n: torch.tensor([[i % 2, 1.0]]), **CODES)
        rows = [(g.x, g.edge_attr.view(-1, 1), g.edge_index, g.y) for g in made]
        torch.save(rows, folder / f"{part}.pt")
    problem = data.problem("LRGBDataset:Peptides-func", str(tmp_path), 0)
    assert (problem.kind, len(problem.learn), len(problem.held["test"])) == ("multilabel", 20, 8)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ({"x": torch.ones(3, 1), "edge_index": None}, "no tensor `edge_index`"),
        ({"x": torch.ones(3, 1), "y": None}, "no tensor `y`"),
        ({"x": torch.ones(3, 1), "y": torch.ones(2)}, "neither for each graph nor for each node"),
        ({"y": torch.ones(3), "num_nodes": 3}, "no features `x`"),
    ],
)
def test_graphs_that_do_not_fit_are_refused_in_a_line(graph: dict, message: str) -> None:
    made = Data(**{"edge_index": torch.tensor([[0, 1], [1, 0]]), "y": torch.ones(1), **graph})
    with pytest.raises(SystemExit, match=f"^made: .*{message}"):
        graphs.uniform("made", {"all": [made, made]}, 2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("TUDataset", "name one, as in TUDataset:NAME"),
        ("UPFD:politifact", "needs UPFD:politifact,feature=VALUE"),
        ("MoleculeNet:nothing", "could not be read: MoleculeNet has no nothing"),
        ("Nothing", "no data set of PyG's"),
    ],
)
def test_names_that_do_not_fit_are_refused_in_a_line(
    name: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match=message):
        data.problem(name, str(tmp_path), 0)


def test_several_numbers_count_alike() -> None:
    y = torch.tensor([[1.0, 100.0], [3.0, 300.0], [torch.nan, 500.0]])
    center, spread = torch.tensor([2.0, 300.0]), torch.tensor([1.0, 100.0])
    problem = data.Problem("regression", 2, [], {}, True, center=center, spread=spread)
    right = ((y - center) / spread).nan_to_num(7.0)
    assert fit.score(right, y, problem) == 0
    assert fit.task_loss(right, y, problem) == 0
    assert fit.score(right + torch.tensor([1.0, 2.0]), y, problem) == pytest.approx(-1.5)


# Batches ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_graph", [True, False])
def test_batches_are_those_of_pyg(per_graph: bool) -> None:
    made = some_graphs(
        23, lambda i, n: torch.rand(1 if per_graph else n, 2), **CODES,
        h=lambda n, e: torch.rand(n, 3),
    )  # fmt: skip
    made[3].edge_index, made[3].edge_attr = torch.empty(2, 0).long(), torch.empty(0).long()
    problem = data.Problem("multilabel", 2, made, {}, per_graph, batch=5)
    h_node = torch.cat([graph.h for graph in made])
    problem = problem._replace(taught={"h_node": lambda rows: h_node[rows]})
    ours, theirs = (
        batches.Batches(problem, ["h_node"]).loader(),
        DataLoader(made, 5, True, drop_last=True),
    )
    for loader in (ours, theirs):
        torch.manual_seed(0)
        loader.seen = [*loader]
    assert len(ours.seen) == len(theirs.seen) == 4
    for a, b in zip(ours.seen, theirs.seen, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in ("x", "edge_index", "edge_attr", "y"))
        assert torch.equal(a.batch, b.batch)
        assert torch.equal(a.h_node, b.h)
        assert a.num_graphs == b.num_graphs


# Runs ---------------------------------------------------------------------------------------------


def test_molecules_at_both_levels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("ogb")
    monkeypatch.delenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", raising=False)
    write_molhiv(tmp_path / "ogbg_molhiv")
    flags = ("--teachers", "GINE", "--students", "GCN-60", "--methods", "lsp", "fitnet", "kd+gcrd")
    train, trained = work.train, []

    def noting(job: work.Job, *more: Any) -> Any:
        trained.extend([job.model] if job.teacher is None else [])
        return train(job, *more)

    monkeypatch.setattr(work, "train", noting)
    lines = run(monkeypatch, tmp_path, "ogbg-molhiv", *flags)
    assert trained == ["GINE", "GINE", "GCN-60", "GCN-60"]  # a trial and a test of each
    tests = [line for line in lines if line["phase"] == "test"]
    assert [(line.get("method"), line.get("level")) for line in tests[2:]] == [
        ("kd", None), ("lsp", None), ("fitnet", None), ("fitnet", "graph"),
        ("kd+gcrd", None), ("kd+gcrd", "graph"),
    ]  # fmt: skip
    assert all(0 <= line["test"] <= 100 for line in tests)
    # A sum takes KD's own setting, at either level.
    limits = work.Limits(str(tmp_path), "", 1, 1, 1, 1)
    results = schedule.Results(
        tmp_path / "out", "ogbg-molhiv", "transductive", limits._replace(patience=20)
    )
    kd = next(line for line in lines if line.get("method") == "kd")["options"]
    jobs = [job for job in results.lines if job.method == "kd+gcrd"]
    assert {job.level for job in jobs} == {"node", "graph"}
    assert all(schedule.known(job, results.lines, limits).kd == kd for job in jobs)
    # What has been run is not run again, and the teacher's outputs are those on disk.
    trained.clear()
    work._taught.cache_clear()
    more = run(monkeypatch, tmp_path, "ogbg-molhiv", *flags, "--levels", "graph")
    assert (more, trained) == (lines, [])
    more = run(monkeypatch, tmp_path, "ogbg-molhiv", *flags[:-3], "gcrd", "--levels", "graph")
    assert len(more) == len(lines) + 2


def test_missing_labels_and_numbers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("rdkit")
    write_tox21(tmp_path / "MoleculeNet" / "tox21" / "raw")
    write_lipo(tmp_path / "MoleculeNet" / "lipo" / "raw")
    flags = ("--teachers", "GINE", "--students", "GIN-35", "--methods", "kd", "kd+at")
    lines = run(monkeypatch, tmp_path, "MoleculeNet:tox21", *flags)
    assert "temperature" in next(line for line in lines if line.get("method") == "kd")["options"]
    lines = run(monkeypatch, tmp_path, "MoleculeNet:lipo", *flags)
    taught = [line for line in lines if "method" in line]
    assert {line["method"] for line in taught} == {"kd", "kd+at"}
    assert all(set(line["options"]) == {"weight", "dropout"} for line in taught)
    assert all(line["test"] < 0 for line in lines if line["phase"] == "test")


def test_nodes_of_many_graphs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    flags = ("--teachers", "GAT", "GAT-skip", "--methods", "at", "kd+gcrd")
    lines = run(monkeypatch, tmp_path, "Communities", *flags)
    tests = [line for line in lines if line["phase"] == "test"]
    alone = [line["model"] for line in tests if "method" not in line]
    assert alone == ["GAT-skip", "GCN", "GraphSAGE", "SIGN", "MLP", "GAT-skip"]
    assert len(tests) == 6 + 5 * 3
    assert all(0 <= line["test"] <= 100 for line in tests)
    assert plan.methods_for("MLP", many_graphs=True) == plan.METHODS
    with pytest.raises(SystemExit, match="krd does not fit Communities: it needs one graph of one"):
        run(monkeypatch, tmp_path, "Communities", "--methods", "krd")


def test_ppi(tmp_path: Path) -> None:
    pytest.importorskip("networkx")
    write_ppi(tmp_path / "PPI" / "raw")
    problem = data.problem("PPI", str(tmp_path), 0)
    assert (problem.kind, problem.outputs, problem.task, problem.batch) == (
        "multilabel",
        7,
        "node",
        1,
    )
    assert problem.learn[0].x1.shape == problem.learn[0].x.shape


def test_a_killed_run_goes_on_to_the_same_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = some_graphs(150, lambda i, n: torch.tensor([i % 2]), **CODES)
    monkeypatch.setattr(data, "load", lambda name, root: {"all": made})
    data._uniform.cache_clear()
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    needed = work.Known(
        {"lr": 0.01, "weight_decay": 1e-5, "norm": "batch_norm"},
        {
            "dropout": 0.2,
            "lr": 0.01,
            "weight_decay": 1e-5,
            "norm": "batch_norm",
            "width": 8,
            "layers": 2,
        },
        {"weight": 1.0, "temperature": 2.0, "dropout": 0.2},
    )
    options = {"weight": 1.0, "temperature": 0.5, "dropout": 0.2}
    job = work.Job("made", "transductive", "GCN-60", "GINE", "kd+gcrd", "node")

    def line(folder: str) -> dict[str, Any]:
        limits = work.Limits("", str(tmp_path / folder), epochs=6, max_samples=100)
        found = work.one_run(job, options, 0, needed, limits, test=True)
        assert not [*(tmp_path / folder).glob("unfinished/*")]
        return {name: value for name, value in found.items() if name != "seconds"}

    whole = line("whole")
    assert whole["epochs"] == 6
    save, saved = checkpoint.Checkpoint.save, []

    def save_and_stop(self: Any, **facts: Any) -> None:
        save(self, **facts)
        saved.append(facts["found"])
        if len(saved) in (3, 10):  # in the middle of the teacher, and of the student
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.Checkpoint, "save", save_and_stop)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            line("killed")
    assert line("killed") == whole
    assert len(saved) == 2 * 6  # no epoch was trained twice
