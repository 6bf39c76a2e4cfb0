"""CONTRIBUTING's walk through adding a loss, followed to the letter in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STEP = re.compile(
    r"^\d+\. \*\*`([^`]+)`\*\*.*?^   ```(\w+)\n(.*?)^   ```$", re.MULTILINE | re.DOTALL
)
COMMANDS = re.compile(r"^Then:\n\n```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BIN = Path(sys.executable).parent


def add_lines(file: Path, diff: str) -> None:
    """Put each line with a plus behind the line above it; one with none above joins the imports."""
    text = file.read_text(encoding="utf-8")
    above = None
    for line in diff.splitlines():
        if not line.startswith("+"):
            above = line[1:]
            assert f"\n{above}\n" in text, above
        elif above is None:
            text = text.replace("\n\nfrom ", f"\n\n{line[1:]}\nfrom ", 1)
        else:
            text = text.replace(f"\n{above}\n", f"\n{above}\n{line[1:]}\n", 1)
    file.write_text(text, encoding="utf-8")


@pytest.fixture
def walked(tmp_path: Path) -> tuple[Path, str]:
    """A copy of the repository with the changes made, and the commands that follow."""
    built = (".git", ".venv", ".cache", "_build", "generated", "__pycache__", "build", "dist")
    copy = tmp_path / "graphkd"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*built))
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    steps = STEP.findall(text)
    assert len(steps) == 7
    for name, kind, block in steps:
        file, block = copy / name, textwrap.dedent(block)
        if kind == "diff":
            add_lines(file, block)
        else:
            assert not file.exists()
            file.write_text(block, encoding="utf-8")
    (commands,) = COMMANDS.findall(text)
    return copy, commands


def test_the_walk_adds_a_loss(walked: tuple[Path, str]) -> None:
    copy, commands = walked
    # The copy has no environment of its own: this one, as it is, takes the place of its .venv.
    commands = commands.replace(".venv/bin/", f"{BIN}/")
    commands = commands.replace("make lint", f"make -o {BIN.parent}/.test VENV={BIN.parent} lint")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    done = subprocess.run(
        ["bash", "-euc", commands],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"^(\d+) passed", done.stdout, re.MULTILINE)
    assert passed is not None, done.stdout
    assert int(passed[1]) > 50
    assert "Lint and types: clean" in done.stdout
