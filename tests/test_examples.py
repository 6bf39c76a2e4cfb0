"""The examples: each runs on its default data, in mixed precision, compiled, and resumed.

Every script in examples/ runs here. The scripts that start in another way have tests below.
"""

import json
import math
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
OTHERS = {"lightning_module"}
SCRIPTS = sorted(p.stem for p in EXAMPLES.glob("[!_]*.py") if p.stem not in OTHERS)
TINY = ("--epochs", "2", "--seeds", "1")
SMALLER = {"sampled": ("--fan-out", "3", "2", "2")}


@pytest.fixture
def common(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The shared module of the examples, with the examples on the path, in an empty folder."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.chdir(tmp_path)
    import _common

    return _common


def run(name: str, *flags: str) -> dict[str, Any]:
    """Run a script in this process; gives the contents of its --out file."""
    methods = ("--losses", "kd") if name == "quickstart" else ("--methods", "none", "kd")
    small = (*TINY, *SMALLER.get(name, ()))
    before, sys.argv = sys.argv, [f"{name}.py", *small, *methods, *flags, "--out", "out.json"]
    try:
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    finally:
        sys.argv = before
        if dist.is_initialized():  # by ddp.py, which is a world of one here
            dist.destroy_process_group()
    result = json.loads(Path("out.json").read_text())
    if name == "quickstart":
        return {
            "teacher": result["teacher"]["test"],
            "methods": result["students"]["MLP"]["methods"],
        }
    return {"teacher": result["teacher"], "methods": result["methods"]}


@pytest.mark.parametrize("name", SCRIPTS)
def test_resumes_to_the_same_numbers(
    name: str, common: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(name)
    assert len(whole["methods"]) in (2, 4)  # for one student, or for two
    save, saved = common._save, []

    def save_and_stop(path: Path, content: dict) -> None:
        save(path, content)
        saved.append(path)
        if len(saved) in (1, 4):  # in the middle of the teacher, and of a student
            raise KeyboardInterrupt

    monkeypatch.setattr(common, "_save", save_and_stop)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(name, "--checkpoint", "runs")
    # A doctor changes nothing, nor what a checkpoint holds.
    assert run(name, "--checkpoint", "runs", "--doctor", "doctor.jsonl") == whole
    told = [json.loads(line) for line in Path("doctor.jsonl").read_text().splitlines()]
    assert told
    assert not [line for line in told if "Could not look" in line["report"]]
    assert len(saved) == len(set(saved)) * 2  # no epoch was trained twice


@pytest.mark.parametrize("name", SCRIPTS)
def test_runs_compiled_and_in_mixed_precision(
    name: str, common: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch._dynamo.reset()
    compile_module, autocast = torch.nn.Module.compile, common.autocast
    compiled, cast = [], []

    def traced_only(self: torch.nn.Module, **options: Any) -> None:
        compiled.append(self)
        compile_module(self, **{**options, "backend": "eager"})

    def noted(args: Any) -> Any:
        cast.append(args.amp)
        return autocast(args)

    monkeypatch.setattr(torch.nn.Module, "compile", traced_only)
    monkeypatch.setattr(common, "autocast", noted)
    result = run(name, "--amp", "--compile", "--epochs", "1")
    assert len(compiled) >= 2  # a student of each method
    assert len(cast) > len(compiled)
    assert all(cast)
    assert all(math.isfinite(m["test"]["mean"]) for m in result["methods"].values())


def test_over_two_ranks(tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    script = [str(EXAMPLES / "ddp.py"), *TINY, "--methods", "kd", "lsp", "glsp", "gcrd"]
    done = subprocess.run(
        [*launch, "--nproc-per-node", "2", *script], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("first step: loss") == 4  # each method is compared with one process


@pytest.mark.skipif(not find_spec("lightning"), reason="needs lightning")
def test_lightning_resumes_to_the_same_numbers(common: Any, monkeypatch) -> None:
    from lightning.pytorch.callbacks import ModelCheckpoint

    whole = run("lightning_module")
    save, saved = ModelCheckpoint._save_last_checkpoint, []

    def save_and_stop(self: Any, *args: Any) -> None:
        save(self, *args)
        saved.append(self)
        if len(saved) == 3:  # the first epoch of the second student
            raise RuntimeError("stopped")

    monkeypatch.setattr(ModelCheckpoint, "_save_last_checkpoint", save_and_stop)
    with pytest.raises(RuntimeError, match="stopped"):
        run("lightning_module", "--checkpoint", "runs")
    assert run("lightning_module", "--checkpoint", "runs") == whole


@pytest.mark.skipif(not find_spec("lightning"), reason="needs lightning")
def test_lightning_on_two_devices(tmp_path: Path) -> None:
    script = [sys.executable, str(EXAMPLES / "lightning_module.py"), *TINY]
    more = ["--methods", "gcrd", "--devices", "2"]
    done = subprocess.run([*script, *more], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "2 device(s)" in done.stdout


def test_every_loss_is_a_choice_of_the_quickstart(common: Any) -> None:
    import _settings

    import graphkd

    losses = {name for name in graphkd.__all__ if name.endswith("Loss") and name != "HeteroLoss"}
    source = (EXAMPLES / "study" / "methods.py").read_text()
    assert {name for name in losses if f"graphkd.{name}(" not in source} == set()
    before, sys.argv = sys.argv, ["quickstart.py", "--epochs", "1", "--seeds", "1"]
    sys.argv += ["--losses", "all", "--students", "MLP", "--out", "all.json"]
    try:
        runpy.run_path(str(EXAMPLES / "quickstart.py"), run_name="__main__")
    finally:
        sys.argv = before
    methods = json.loads(Path("all.json").read_text())["students"]["MLP"]["methods"]
    assert list(methods) == _settings.EVERY
    for name, method in methods.items():
        assert math.isfinite(method["test"]["mean"]), name
        assert method["label"] != name
