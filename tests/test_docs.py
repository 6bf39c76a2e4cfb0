"""Every Python block of README and the documentation runs, page by page, top to bottom.

The blocks of CONTRIBUTING are files; ``test_contributing.py`` puts them into a copy and runs them.
"""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests import cheat_sheet

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[str]:
    return [textwrap.dedent(code) for _, code in BLOCK.findall(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if "_build" not in p.parts and p.stem != "CONTRIBUTING" and blocks(p)],
    ids=lambda p: p.stem,
)
def test_code_runs(page: Path) -> None:
    namespace: dict = {"__name__": "page"}
    for block in blocks(page):
        exec(compile(block, str(page), "exec"), namespace)


def test_readme_and_tutorial_have_code() -> None:
    assert blocks(ROOT / "README.md")
    assert len(blocks(ROOT / "docs" / "tutorial.md")) >= 3


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        base = page.parent
        assert (base / target).exists() or (base / f"{target}.md").exists(), target


def test_results_are_those_of_the_json() -> None:
    command = [sys.executable, ROOT / "benchmarks" / "report.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_cheat_sheet_is_that_of_the_contract_table() -> None:
    same = cheat_sheet.PAGE.read_text() == cheat_sheet.page()
    assert same, "docs/losses/cheatsheet.md is out of date. Run python -m tests.cheat_sheet."
