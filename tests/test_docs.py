"""Every Python block of README and the documentation runs, page by page, top to bottom.

The blocks of CONTRIBUTING are files; ``test_contributing.py`` puts them into a copy and runs them.
"""

import inspect
import re
import runpy
import sys
import textwrap
from pathlib import Path

import pytest

import graphkd
from tests import cheat_sheet
from tests.contract import LOSSES

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[str]:
    return [textwrap.dedent(code) for _, code in BLOCK.findall(page.read_text(encoding="utf-8"))]


RUNNING = [p for p in PAGES if "_build" not in p.parts and p.stem != "CONTRIBUTING" and blocks(p)]
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?%?")


def near(number: str) -> dict[str, float]:
    """Whole numbers are the same; others by a third, or by two in the last digit that is shown."""
    if number.endswith("%"):
        return {"abs": 6.0}
    digits = len(number.partition("e")[0].partition(".")[2])
    return {"rel": 0.3, "abs": 0.0 if "e" in number else 2 * 10**-digits} if digits else {"abs": 0}


@pytest.mark.parametrize("page", RUNNING, ids=lambda p: p.stem)
def test_code_runs_and_prints_what_is_shown(page: Path, capsys: pytest.CaptureFixture) -> None:
    """The words, and numbers nearly: another CPU rounds otherwise, and a few nodes change sides."""
    namespace: dict = {"__name__": "page"}
    for block in blocks(page):
        exec(compile(block, str(page), "exec"), namespace)
    text = page.read_text(encoding="utf-8")
    shown = "".join(re.findall(r"^ *```text\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL))
    if not shown:
        return
    printed = capsys.readouterr().out
    assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", shown).split()
    for mine, other in zip(NUMBER.findall(printed), NUMBER.findall(shown), strict=True):
        assert float(mine.rstrip("%")) == pytest.approx(float(other.rstrip("%")), **near(other))


def test_the_notebook_is_the_tutorial(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(ROOT / "docs")
    page = ROOT / "docs" / "tutorial.md"
    cells = __import__("conf").notebook(page.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert code == ["%pip install graphkd scikit-learn", *(b.strip() for b in blocks(page))]
    text = "".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    assert text.startswith("# Tutorial")
    assert not re.search(r"```|\{func\}|\.md\)|<a ", text)


def test_class_pages_have_the_options_in_the_functions_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(ROOT / "docs")
    conf = __import__("conf")

    def on_page(name: str, text: list[str]) -> str:
        conf.say_options(None, "class", f"graphkd.{name}", getattr(graphkd, name), None, text)
        return "\n".join(text)

    classes = [x for x in graphkd.__all__ if isinstance(getattr(graphkd, x), type)]
    pages = {x: on_page(x, inspect.getdoc(getattr(graphkd, x)).splitlines()) for x in classes}
    assert not [name for name, page in pages.items() if "As in the function" in page]
    words = r"^    num_negatives: Draw this many keys .*\n(        \S.*\n)+    max_samples: Draw "
    assert re.search(words, pages["GCRDLoss"], re.MULTILINE)
    with pytest.raises(Exception, match=r"graphkd\.GCRDLoss says of nothing"):
        on_page("GCRDLoss", ["Args:", "    nothing: As in the function."])


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        base = page.parent
        assert (base / target).exists() or (base / f"{target}.md").exists(), target


def test_results_are_those_of_the_json(monkeypatch: pytest.MonkeyPatch) -> None:
    script = ROOT / "benchmarks" / "report.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--check"])
    monkeypatch.syspath_prepend(script.parent)
    runpy.run_path(str(script), run_name="__main__")  # ends with what is not so


def test_the_cheat_sheet_is_that_of_the_contract_table() -> None:
    same = cheat_sheet.PAGE.read_text() == cheat_sheet.page()
    assert same, "docs/losses/cheatsheet.md is out of date. Run python -m tests.cheat_sheet."


def test_troubleshooting_names_every_code_of_the_doctor_and_no_other() -> None:
    code = re.compile(r'^ +"([a-z]+(?:-[a-z]+)+)",$', re.MULTILINE)
    sources = (ROOT / "graphkd" / "diagnostics" / "doctor").glob("*.py")
    real = {name for file in sources for name in code.findall(file.read_text(encoding="utf-8"))}
    for page in ("troubleshooting.md", "diagnostics/doctor.md"):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        assert set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", text)) == real


def test_the_site_shows_every_example() -> None:
    text = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"literalinclude\} \.\./examples/(\w+)\.py", text))
    assert shown == {path.stem for path in (ROOT / "examples").glob("[!_]*.py")}


def test_pages_show_the_pictures_of_their_losses() -> None:
    """The gallery's figures have numbers; the section around each names the loss of its strip."""
    code = (ROOT / "docs" / "gallery" / "plot_gradient_flow.py").read_text()
    strips = re.findall(r'^strip\("(.+?)"', code, re.MULTILINE)
    shown = set()
    for page in (ROOT / "docs").glob("losses/**/*.md"):
        for section in re.split(r"^##? ", page.read_text(), flags=re.MULTILINE):
            for picture in re.finditer(r"gradient_flow_(\d+)\.png", section):
                strip = strips[int(picture[1]) - 1]
                name, _, temperature = strip.partition(", ")
                title = page.read_text() if page.stem != "index" else section
                assert name.lower() in title.splitlines()[0].lower(), page
                assert temperature in section[picture.start() - 200 : picture.end() + 250]
                shown.add(strip)
    assert shown == {*strips}


def test_every_loss_has_a_paper_to_cite() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    cited = set(re.findall(r"\w+Loss", " ".join(re.findall(r'^    notes: "(.*)"$', text, re.M))))
    assert cited <= set(graphkd.__all__)
    proposed = (loss for loss in LOSSES if "Source: folklore" not in loss.function.__doc__)
    assert {loss.module.__name__ for loss in proposed} <= cited
