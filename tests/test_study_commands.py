"""The study's command line: a cell of every task, and models that do not fit."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from examples.study import plan


def scored(path: Path) -> list[dict[str, Any]]:
    """The test runs of a file."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if line.get("phase") == "test"]


def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str) -> None:
    flags += f" --jobs 1 --out {tmp_path}/out --work {tmp_path}/work"
    monkeypatch.setattr(sys, "argv", ["study", *flags.split()])
    runpy.run_module("examples.study", run_name="__main__")


def test_a_cell_of_every_task_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    command(monkeypatch, tmp_path, "--smoke")
    files = {path.name.split("-")[0]: path for path in (tmp_path / "out/smoke").glob("*.jsonl")}
    found = {name: scored(path) for name, path in files.items()}
    assert found.keys() == {*plan.SMOKE}
    for name, runs in found.items():
        methods_run = [line.get("method") for line in runs]
        times = 2 if name == "Molecules" else 1  # rows of nodes, and of graphs
        assert methods_run == [None, None, "kd", *["gcrd"] * times]
        assert all("test" in line for line in runs)
    monkeypatch.setattr(plan, "SMOKE", ("Digits",))
    command(monkeypatch, tmp_path, "--smoke")  # nothing is run again
    assert found == {name: scored(path) for name, path in files.items()}


def test_models_for_another_task_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match="Digits has no student but GCN, GraphSAGE, SIGN, MLP"):
        command(monkeypatch, tmp_path, "--students GCN-60 R-GCN")
