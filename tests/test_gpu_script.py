"""A dry run of benchmarks/gpu.py, which awaits a GPU, and what it does about failures."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return __import__("gpu")


def test_a_dry_run_measures_everything(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    out = tmp_path / "gpu.json"
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "gpu.py", "--dry-run", "--out", out],
        capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    report = json.loads(out.read_text())
    assert done.stdout.splitlines()[-1] == report["verdict"].splitlines()[-1]
    assert "On this device, auto should be" in report["verdict"]
    bad = [r for r in report["records"] if not (r.get("right") or r.get("seconds"))]
    assert not bad
    kinds = [record["unit"][0] for record in report["records"]]
    assert kinds == sorted(kinds)
    assert kinds.count("check") == 18


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("import os; os.abort()", "the process ended (-6): an illegal memory access"),
        ("import time; time.sleep(60)", "took longer than 3 s"),
    ],
    ids=["dies", "hangs"],
)
def test_a_case_that_takes_its_process_down_is_a_result(
    then: str, said: str, gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "worker.py"
    said_first = ('RESULT {"right": true}', "an illegal memory access")
    script.write_text(f"print(*{said_first}, sep='\\n', flush=True)\n{then}\n")
    monkeypatch.setattr(gpu, "__file__", str(script))
    worker = gpu.Worker(0, argparse.Namespace(device="cpu", dry_run=True))
    assert worker.result(30) == ({"right": True}, True)
    assert worker.result(3) == ({"failed": said}, False)
    assert worker.process.returncode is not None


def test_the_verdict(gpu: ModuleType) -> None:
    def step(way: str, seconds: float, name: str = "gcrd", value: float = 1.0) -> dict[str, Any]:
        unit = ["time", name, way, "float32", 16_384, 256, 0]
        return {"unit": unit, "seconds": seconds, "value": value, "gradient": 1.0}

    right = {"unit": ["check", "infonce", "one way"], "right": True}
    wrong = {"unit": ["check", "edges", "rbf"], "failed": "CompilationError: no"}
    fast = [step("chunked", 2.0), step("triton", 1.0)]
    slow = [step("chunked", 1.0, "lsp_rbf"), step("triton", 2.0, "lsp_rbf")]
    others = [step("chunked", 1.0), step("triton", 0.5, value=2.0)]
    for records, said in (
        ([right, *fast, *slow], "auto should be 'triton' for gcrd; 'chunked' for lsp_rbf"),
        ([right, wrong, *fast], "auto should be 'chunked': these programs are wrong or do not run"),
        ([right, *others], "auto should be 'chunked': triton is not faster, fails or differs"),
        ([right], "auto should be 'chunked': no case of both backends was measured"),
    ):
        assert said in gpu.verdict(records).splitlines()[-1]
