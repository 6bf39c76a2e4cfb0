"""The benchmarks: every loss that they time runs, and the search for settings finds the best."""

import json
import math
import runpy
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.sparse import identity
from torch_geometric.utils import to_scipy_sparse_matrix

ROOT = Path(__file__).resolve().parents[1]


def test_every_timed_loss_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    floors = __import__("floors")
    for name, _, n, d in floors.cases(quick=True):
        ours, plain = (step() for step in floors.forms(name, n, d))
        torch.testing.assert_close(ours, plain, rtol=1e-3, atol=1e-6)


def test_every_step_that_may_be_compiled_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """One loss and the last student are traced; to compile all would take a minute."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    compile_, traced = torch.compile, []

    def trace(function: Any, dynamic: bool) -> Any:
        traced.append(function)
        some = len(traced) in (2, 13, 14)
        return compile_(function, dynamic=dynamic, backend="eager") if some else function

    monkeypatch.setattr(torch, "compile", trace)  # a Module's compile calls it, too
    compiled = __import__("compiled")
    monkeypatch.setattr(compiled.measure, "SAMPLE_SECONDS", 0.0)
    labels = []
    for label, n, build in compiled.cases(quick=True):
        row = compiled.run(label, n, build, budget=0.0)
        labels.append(row["label"])
        assert min(row["plain"], row["compiled"], row["speed"]["median"]) > 0
    assert len({*labels}) == len(labels) == 10
    assert len(traced) == 6 + 4 * 2  # a loss, or a student and its sum


def test_what_students_save_when_they_predict(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """For one node, a GAT reads what lies within two hops, as powers of the adjacency say."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    inference = __import__("inference")
    monkeypatch.setattr(inference, "SINGLES", 2)
    monkeypatch.setattr(inference, "SECONDS", 0.0)
    monkeypatch.setattr(inference.measure, "SAMPLE_SECONDS", 0.0)
    study = ROOT / "benchmarks" / "results" / "study"
    (found,) = (one for one in inference.read(study) if one.title == "Digits")
    pairs = {column.name: column for column in found.columns}
    row = inference.run(pairs["GAT → MLP"], str(tmp_path))
    assert row["parameters"][0] > row["parameters"][1] == found.facts["parameters"]["student MLP"]
    assert row["all"]["speed"]["median"] > 0
    assert row["one"]["reads"][0] > row["one"]["reads"][1] == 1
    problem = inference.data.problem("Digits", str(tmp_path), 0)
    (graph,), n = problem.held["test"], problem.learn[0].num_nodes
    monkeypatch.setattr(inference, "SINGLES", n)
    reads = inference.rows_of(inference.singles(problem, "GAT", {"layers": 2}))
    hop = to_scipy_sparse_matrix(graph.edge_index, num_nodes=n).tocsr() + identity(n)
    within = (hop @ hop)[graph.test_mask.numpy()].getnnz(axis=1)
    assert reads == pytest.approx(within.mean())


def test_the_analysis_takes_up_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), str(ROOT / "examples"), *sys.path])
    flags = ["--seeds", "0", "--students", "GCN", "--epochs", "1", "--permutations", "3"]
    flags += ["--out", str(tmp_path / "out.json")]

    def run(*more: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["analysis.py", *flags, *more])
        runpy.run_path(str(ROOT / "benchmarks" / "analysis.py"), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    assert len(run("--methods", "none", "kd")) == 2
    result = json.loads((tmp_path / "out.json").read_text())
    for method in ("none", "kd"):
        row = result["students"]["GCN"][method]["0"]
        assert all(math.isfinite(x) for key, x in row.items() if key != "setting")
    assert len(run("--methods", "kd", "kd+lsp", "--pictures", str(tmp_path))) == 1
    assert len(list(tmp_path.glob("*.png"))) == 4


def test_balancing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), str(ROOT / "examples"), *sys.path])
    flags = ["--seeds", "2", "--epochs", "1", "--out", str(tmp_path / "out.json")]
    monkeypatch.setattr(sys, "argv", ["balancing.py", *flags])
    runpy.run_path(str(ROOT / "benchmarks" / "balancing.py"), run_name="__main__")
    losses = json.loads((tmp_path / "out.json").read_text())["losses"]
    assert all(len(row["balanced"]["seeds"]) == 2 and row["pull"] > 0 for row in losses.values())


def test_the_best_setting_is_chosen_and_kd_keeps_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    best, commands = {"kd": "10.0@2.0", "kd+gcrd": "1.0@0.5"}, []
    tune = partial(runpy.run_path, str(ROOT / "benchmarks" / "tune.py"), run_name="__main__")

    def example(script: str, run_name: str) -> None:
        assert Path(script) == ROOT / "examples" / "graph_agnostic.py"
        command = sys.argv
        commands.append(command)
        method = command[command.index("--methods") + 1]
        settings = command[command.index("--settings") + 1 : command.index("--out")]
        score = 90.0 if f"{method}={best[method]}" in settings else 80.0
        result = {"validation": {f"MLP: {method}": {"mean": score}}}
        Path(command[command.index("--out") + 1]).write_text(json.dumps(result))

    monkeypatch.setattr(runpy, "run_path", example)
    flags = ["graph_agnostic", "--methods", "kd+gcrd", "kd", "--checkpoint", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["tune.py", *flags, "--dataset", "Cora"])
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    tune()
    assert len(commands) == 24  # twelve trials a method
    assert all(command[command.index("--dataset") + 1] == "Cora" for command in commands)
    assert all("kd=10.0@2.0" in command for command in commands[12:])
    printed = capsys.readouterr().out
    assert '"kd": Setting(10.0, 2.0),' in printed
    assert '"kd+gcrd": Setting(1.0, 0.5),' in printed
