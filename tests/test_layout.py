"""The plan of the house: where a loss stands, what a file may hold, and who may import whom."""

import ast
import inspect
import re
from difflib import SequenceMatcher
from pathlib import Path

import pytest

import graphkd
from tests.contract import LOSSES

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(graphkd.__file__).parent
FAMILIES = ("contrast", "features", "levels", "logits", "neighbours", "pairs", "several")
SIDES = (PACKAGE / "functional", PACKAGE / "losses", ROOT / "tests/rows", ROOT / "tests/oracles")
CODE = [
    file
    for folder in ("graphkd", "tests", "benchmarks", "examples")
    for file in sorted((ROOT / folder).rglob("*.py"))
]


def lines_of_code(file: Path) -> int:
    """Lines without blanks, comments and docstrings."""
    text = file.read_text(encoding="utf-8")
    prose: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            prose |= set(range(node.lineno, node.end_lineno + 1))
    lines = enumerate(map(str.strip, text.splitlines()), 1)
    return sum(bool(line) and line[0] != "#" and at not in prose for at, line in lines)


@pytest.mark.parametrize("side", SIDES, ids=lambda side: f"{side.parent.name}/{side.name}")
def test_every_side_has_the_same_rooms(side: Path) -> None:
    rooms = sorted(file.parent.name for file in side.glob("*/__init__.py"))
    assert tuple(rooms) == FAMILIES
    for room in rooms:
        assert ast.get_docstring(ast.parse((side / room / "__init__.py").read_text()))
    assert all((ROOT / "docs/losses" / room / "index.md").exists() for room in rooms)


def test_a_loss_stands_in_the_same_place_everywhere() -> None:
    """In the room of its family and in a file of its name: formula, Module, row and oracle."""
    functions, modules, rows, oracles = (
        {file.relative_to(side).as_posix() for file in side.glob("*/[!_]*.py")} for side in SIDES
    )
    assert len(rows) == len(LOSSES)
    assert rows == oracles
    assert rows <= functions & modules


def test_files_are_short() -> None:
    assert not {file: n for file in CODE if (n := lines_of_code(file)) > 250}


def test_no_room_looks_into_another() -> None:
    for side in SIDES[:2]:
        for file in side.glob("*/*.py"):
            others = set(FAMILIES) - {file.parent.name}
            found = re.findall(rf"from graphkd\.{side.name}\.(\w+)\.", file.read_text())
            assert not others & set(found), file


def test_ops_choose_the_backend() -> None:
    """But for LSP, which has to know it before the ranks meet."""
    files = (file for side in SIDES[:2] for file in side.rglob("*.py"))
    assert {file.name for file in files if "pick_backend" in file.read_text()} == {"lsp.py"}


def alike(lines: SequenceMatcher) -> bool:
    """Whether the ratio is 0.8 or more; its upper bounds are quick."""
    ratios = (lines.real_quick_ratio, lines.quick_ratio, lines.ratio)
    return all(ratio() >= 0.8 for ratio in ratios)


def test_a_module_says_what_its_function_does_not() -> None:
    """At most a fifth of the Modules' lines stand in the functions', word for word or nearly."""
    headings = {"Args:", "Shapes:", "Example:", ".. math::", ">>> import torch"}
    repeated = total = 0
    for loss in LOSSES:
        own, other = (
            {line.strip() for line in inspect.getdoc(item).splitlines()} - {""} - headings
            for item in (loss.module, loss.function)
        )
        total += len(own)
        repeated += sum(
            any(alike(SequenceMatcher(None, line, there)) for there in other) for line in own
        )
    assert repeated <= 0.2 * total
