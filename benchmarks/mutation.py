"""Which small faults in the package the tests notice; with all variants compiled, and with fewer.

Faults are put into a copy of the repository, one at a time. For each, tests run until one fails:
those of the losses that execute the line, those of the family, and then compilation. After each
fault, ``results/mutation.json`` says who noticed it: the tests that compile nothing, the variants
that ``tests/test_compile.py`` compiles, or only all variants. A second call goes on where the first
one stopped.

Existing tools run one command, or instrument each function: the first takes the whole suite for
every fault, and the second changes what torch.compile and torch's operators look at.
"""

import argparse
import importlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from _mutants import Mutant, mutants

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "mutation.json"
FOLDERS = ("graphkd/functional", "graphkd/ops")
# What the table of losses is tried on, beside its values.
CONTRACT = ("contract", "contract_modules", "contract_refusals", "laws", "accuracy", "gradcheck")
# By what a file's path begins with, the tests of what the table of losses does not reach.
BY_PLACE = {
    "graphkd/functional/_precomputed": ("precomputed",),
    "graphkd/functional/_ranked": ("distributed",),
    "graphkd/functional/_rows": ("pairs_options", "graph_level_options"),
    "graphkd/functional/_": ("precomputed", "pairs_options"),
    "graphkd/functional/contrast/crd": ("crd", "crd_banks"),
    "graphkd/functional/contrast/banks": ("crd", "crd_banks"),
    "graphkd/functional/contrast": ("positives", "queue"),
    "graphkd/functional/features": ("features",),
    "graphkd/functional/levels": ("graph_levels", "graph_level_options", "graph_level_contexts"),
    "graphkd/functional/logits": ("logits", "tasks"),
    "graphkd/functional/neighbours": ("neighbours", "heat_kernels"),
    "graphkd/functional/neighbours/lsp": ("precomputed",),
    "graphkd/functional/pairs": ("pairs", "pairs_options", "similarity"),
    "graphkd/functional/pairs/global_lsp": ("precomputed", "pairs_options"),
    "graphkd/functional/several": ("layers", "layers_refusals", "layers_teachers"),
    "graphkd/ops": ("similarity", "graph_level_options", "pairs"),
    "graphkd/ops/backends": ("backends",),
    "graphkd/ops/chunked/moment": ("features", "precomputed", "accuracy"),
    "graphkd/ops/triton": ("triton",),
    "graphkd/ops/ring": ("distributed",),
}


def in_child(copy: Path, work: Any) -> int:
    """The exit status of ``work()`` in a fork that sees the copy, with its output thrown away."""
    child = os.fork()
    if child == 0:
        os.chdir(copy)
        sys.path.insert(0, str(copy))
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        status = 70
        try:
            status = int(work())
        finally:
            os._exit(status)
    deadline = time.monotonic() + 600
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            return 124
        time.sleep(0.05)


def all_pass(copy: Path, names: tuple[str, ...], chosen: str = "", *, every: bool = False) -> bool:
    """Whether these tests pass, or those of them that pytest's ``-k`` chooses."""
    import pytest

    files = [f"tests/test_{name}.py" for name in names]
    os.environ["COMPILE_EVERY_VARIANT"] = "1" if every else ""
    options = ["-q", "-x", "-p", "no:cacheprovider", "-k", chosen]
    # 5: no test was chosen.
    return in_child(copy, lambda: pytest.main([*files, *options])) in (0, 5)


def executed_lines(copy: Path) -> dict[str, dict[str, list[int]]]:
    """Which lines of the package each loss executes in its tests of values, by file."""
    report = copy / "executed.json"

    def measured() -> int:
        import coverage
        import pytest

        quiet = ["-q", "-p", "no:cacheprovider", "tests/test_values.py"]
        pytest.main([*quiet, "--collect-only"])  # imports, which execute the lines of modules
        found: dict[str, dict[str, list[int]]] = {}
        for loss in sorted(row.stem for row in (copy / "tests/rows").glob("*/[!_]*.py")):
            cover = coverage.Coverage(data_file=None, source=[str(copy / "graphkd")])
            cover.start()
            pytest.main([*quiet, "-k", f"{loss}-"])
            cover.stop()
            data = cover.get_data()
            for file in data.measured_files():
                place = Path(file).resolve().relative_to(copy.resolve()).as_posix()
                found.setdefault(place, {})[loss] = sorted(data.lines(file) or [])
        report.write_text(json.dumps(found))
        return 0

    in_child(copy, measured)
    return dict(json.loads(report.read_text()))


def losses_of(mutant: Mutant, lines: dict[str, dict[str, list[int]]]) -> list[str]:
    """Up to three losses that execute the line; of a line outside of functions, the file."""
    by = {loss: seen for loss, seen in lines.get(mutant.file, {}).items() if seen}
    exactly = [loss for loss, seen in by.items() if mutant.line in seen]
    return sorted(exactly or by)[:3]


def own_tests(file: str) -> tuple[str, ...]:
    """The tests of the longest beginning that the file's path has."""
    return BY_PLACE[max((place for place in BY_PLACE if file.startswith(place)), key=len)]


def verdict(copy: Path, mutant: Mutant, losses: list[str]) -> str:
    """Where the fault was noticed: by the tests, by fewer compilations, by all, or nowhere."""
    if not losses or mutant.file.startswith("graphkd/ops/triton"):
        return "nowhere" if all_pass(copy, own_tests(mutant.file)) else "tests"
    # The interpreter is slow, and runs none of this.
    three, one = (
        f"({' or '.join(f'{loss}-' for loss in some)}) and not triton"
        for some in (losses, losses[:1])
    )
    for names, some in (
        (("values",), three),
        (CONTRACT, one),
        (own_tests(mutant.file), ""),
    ):
        if not all_pass(copy, names, some):
            return "tests"
    for every in (False, True):
        if not all_pass(copy, ("compile",), one, every=every):
            return "compile, every variant" if every else "compile"
    return "nowhere"


def identity(mutant: Mutant) -> str:
    """The fault in a line."""
    change = f"{mutant.old!r} -> {mutant.new!r} at {mutant.start}"
    return f"{mutant.file}:{mutant.line}: {change}"


def examine(todo: list[Mutant], known: dict[str, dict[str, Any]], out: Path) -> None:
    """Try the faults in a copy, and write down after each who noticed it."""
    os.environ["TRITON_INTERPRET"] = "1"  # read when triton is imported
    # What every test imports is imported once, before the forks; the package is not.
    for module in ("hypothesis", "pytest", "torch", "torch_geometric"):
        importlib.import_module(module)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("graphkd", "tests", "pyproject.toml", "examples", "docs/api"):
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
        assert all_pass(copy, ("values",), "kd-"), "tests fail without a fault"
        lines = executed_lines(copy)
        for mutant in todo:
            file, text = copy / mutant.file, (copy / mutant.file).read_text()
            losses = losses_of(mutant, lines)
            file.write_text(mutant.written(text))
            began = time.monotonic()
            noticed = verdict(copy, mutant, losses)
            file.write_text(text)
            name = identity(mutant)
            known[name] = {"id": name, **asdict(mutant), "losses": losses, "noticed": noticed}
            out.write_text(json.dumps(list(known.values()), indent=1, ensure_ascii=False))
            print(f"{noticed:8} {time.monotonic() - began:4.0f} s  {name}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=160, help="how many faults")
    parser.add_argument("--seed", type=int, default=0, help="which ones are drawn")
    parser.add_argument(
        "--share", default="0/1", help="this process's part of them: 0/2, 1/2; then one call joins"
    )
    arguments = parser.parse_args()
    part, parts = (int(number) for number in arguments.share.split("/"))
    out = RESULTS.with_suffix(f".{part}.json") if parts > 1 else RESULTS
    shares = [out] if parts > 1 else sorted(RESULTS.parent.glob("mutation*.json"))
    known = {
        row["id"]: row for file in shares if file.exists() for row in json.loads(file.read_text())
    }
    drawn = mutants(ROOT, FOLDERS, arguments.count, arguments.seed)[part::parts]
    if todo := [mutant for mutant in drawn if identity(mutant) not in known]:
        examine(todo, known, out)
    out.write_text(json.dumps(list(known.values()), indent=1, ensure_ascii=False) + "\n")
    print(Counter(row["noticed"] for row in known.values()))


if __name__ == "__main__":
    main()
