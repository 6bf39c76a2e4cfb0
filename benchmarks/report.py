"""Render the JSON under benchmarks/results: docs/results*.md, figures, blocks of other pages.

python benchmarks/report.py           # write
python benchmarks/report.py --check   # fail if the Markdown is not what the JSON says
"""

import argparse
import re
import sys
from pathlib import Path

from _accuracy_tables import accuracy_section
from _analysis_tables import analysis_tables, draw_analysis
from _diagnostics_tables import diagnostics_section
from _doctor_tables import doctor_section
from _family_tables import family_cost_section, family_demo_section
from _floor_tables import change_section, compiled_section, floor_section
from _speed_tables import speed_section
from _study_gcrd import gcrd_blocks
from _study_headline import headline_blocks
from _study_labels import label_blocks
from _study_losses import loss_blocks, pages_of_losses
from _study_parts import cost_blocks, inference_blocks, robustness_blocks
from _study_settings import settings_blocks
from _study_similarity import similarity_blocks
from _study_summary import data_blocks, study_blocks
from _tables import (
    balancing_section,
    demo_section,
    footprint_section,
    joined,
    prose,
    read,
)
from _workflow_tables import (
    drawn_section,
    negatives_section,
    recipe_table,
    store_section,
)

ROOT = Path(__file__).resolve().parents[1]
README, FIGURES = ROOT / "README.md", ROOT / "docs" / "_static"
RECIPES = ROOT / "docs" / "recipes.md"
ANALYSIS = ROOT / "docs" / "diagnostics" / "analysis.md"
# The pages of the study, each with what fills its marked blocks.
STUDY = {
    ROOT / "docs" / "study.md": lambda: (
        headline_blocks() | study_blocks() | label_blocks() | cost_blocks() | inference_blocks()
    ),
    ROOT / "docs" / "study_data.md": data_blocks,
    ROOT / "docs" / "study_gcrd.md": gcrd_blocks,
    ROOT / "docs" / "study_similarity.md": similarity_blocks,
    ROOT / "docs" / "study_robustness.md": robustness_blocks,
    ROOT / "docs" / "tuning.md": lambda: settings_blocks() | headline_blocks(),
    ROOT / "docs" / "losses" / "index.md": headline_blocks,
}


INTRO = """What the commands in the repository measured. They run in a clone, and not in an
installed package. Times on a CPU depend on the machine and on what else it does; read them against
one another."""
# The pages of results: a title, and what makes their sections.
RESULTS = {
    "results": (
        "Results",
        [demo_section, family_demo_section, balancing_section, doctor_section],
    ),
    "results_speed": (
        "Speed and memory",
        [
            speed_section, floor_section, change_section, compiled_section, footprint_section,
            family_cost_section, negatives_section, drawn_section, store_section,
            diagnostics_section,
        ],
    ),
    "results_accuracy": ("Rounding errors", [accuracy_section]),
}  # fmt: skip
OTHERS = """Other pages: [speed and memory](results_speed.md),
[rounding errors](results_accuracy.md) and [the study](study.md). Weights on this page were chosen
among few, for other splits and students than there; the study's search is wider, and the same for
teachers, students and losses. Where the two differ, as on what KD and G-CRD gain on the digits,
trust the study.

```{toctree}
:hidden:

results_speed
results_accuracy
```"""


def page(name: str) -> str:
    title, sections = RESULTS[name]
    return (
        joined(
            "<!-- Written by benchmarks/report.py from benchmarks/results/*.json. -->",
            f"# {title}",
            prose(INTRO),
            OTHERS if name == "results" else "",
            *(section() for section in sections),
        )
        + "\n"
    )


def readme() -> str:
    """README with its table; without a result, it stays as it is."""
    return filled(README.read_text(), headline_blocks())


def recipes() -> str:
    """The page of recipes with its table."""
    text, result = RECIPES.read_text(), read("recipes")
    return filled(text, {"recipes": recipe_table(result)} if result else {})


def analysis() -> str:
    """The page on what a method preserves, with its tables."""
    text, result = ANALYSIS.read_text(), read("analysis")
    return filled(text, {"analysis": analysis_tables(result)} if result else {})


def filled(text: str, blocks: dict[str, str], *, every: bool = False) -> str:
    """The text with its marked blocks filled in; with ``every``, it must have all of them."""
    for name, block in blocks.items():
        marked = re.compile(rf"<!-- {name} -->.*?<!-- end -->", re.DOTALL)
        made = f"<!-- {name} -->\n{block}\n<!-- end -->"
        text, count = marked.subn(lambda _, made=made: made, text)
        if every and count != 1:
            sys.exit(f"A page of the study has the block {name} {count} times.")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    pages = {ROOT / "docs" / f"{name}.md": page(name) for name in RESULTS}
    pages |= {README: readme(), RECIPES: recipes(), ANALYSIS: analysis()}
    for path, blocks in STUDY.items():
        pages[path] = filled(path.read_text(), blocks(), every=path.name.startswith("study"))
    of_losses = loss_blocks()
    pages |= {path: filled(path.read_text(), of_losses) for path in pages_of_losses()}
    for path, text in pages.items():
        if path.exists() and path.read_text() == text:
            continue
        if args.check:
            sys.exit(f"{path.name} is not what the results say. Run python benchmarks/report.py.")
        path.write_text(text)
    if not args.check:
        from _figures import draw_figures
        from _study_figures import draw_study

        draw_figures(FIGURES)
        draw_study(FIGURES)
        draw_analysis(FIGURES)


if __name__ == "__main__":
    main()
