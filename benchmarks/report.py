"""Render the JSON under benchmarks/results: docs/results.md, its figures, blocks of other pages.

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
from _floor_tables import change_section, floor_section
from _speed_tables import speed_section, targets
from _study_gcrd import gcrd_blocks
from _study_parts import cost_blocks, robustness_blocks, similarity_blocks
from _study_summary import study_blocks
from _tables import (
    balancing_section,
    demo_section,
    footprint,
    footprint_section,
    joined,
    methods,
    models,
    prose,
    read,
)
from _workflow_tables import (
    drawn_section,
    hetero_section,
    negatives_section,
    recipe_table,
    store_section,
)

ROOT = Path(__file__).resolve().parents[1]
README, PAGE, FIGURES = ROOT / "README.md", ROOT / "docs" / "results.md", ROOT / "docs" / "_static"
RECIPES = ROOT / "docs" / "recipes.md"
ANALYSIS = ROOT / "docs" / "diagnostics" / "analysis.md"
# The pages of the study, each with what fills its marked blocks.
STUDY = {
    ROOT / "docs" / "study.md": lambda: study_blocks() | cost_blocks(),
    ROOT / "docs" / "study_gcrd.md": gcrd_blocks,
    ROOT / "docs" / "study_similarity.md": similarity_blocks,
    ROOT / "docs" / "study_robustness.md": robustness_blocks,
}


def page() -> str:
    intro = """What the commands in the repository measured. Times on a CPU depend on the machine
    and on what else it does; read them against one another."""
    return (
        joined(
            "<!-- Written by benchmarks/report.py from benchmarks/results/*.json. -->",
            "# Results",
            prose(intro),
            demo_section(),
            family_demo_section(),
            hetero_section(),
            speed_section(),
            floor_section(),
            change_section(),
            accuracy_section(),
            balancing_section(),
            footprint_section(),
            family_cost_section(),
            negatives_section(),
            drawn_section(),
            store_section(),
            diagnostics_section(),
            doctor_section(),
        )
        + "\n"
    )


def readme() -> str:
    """README with its marked blocks filled in; without a result, a block stays as it is."""
    text, blocks = README.read_text(), {}
    if demo := read("quickstart"):
        blocks["results"] = joined(models(demo), methods(demo))
    if sizes := read("footprint"):
        blocks["footprint"] = footprint(sizes)
    if speed := read("speed_cpu"):
        blocks["speed"] = targets(speed)
    return filled(text, blocks)


def recipes() -> str:
    """The page of recipes with its table."""
    text, result = RECIPES.read_text(), read("recipes")
    return filled(text, {"recipes": recipe_table(result)} if result else {})


def analysis() -> str:
    """The page on what a method preserves, with its tables."""
    text, result = ANALYSIS.read_text(), read("analysis")
    return filled(text, {"analysis": analysis_tables(result)} if result else {})


def filled(text: str, blocks: dict[str, str]) -> str:
    """The text with its marked blocks filled in."""
    for name, block in blocks.items():
        marked = re.compile(rf"<!-- {name} -->.*?<!-- end -->", re.DOTALL)
        text = marked.sub(lambda _, n=name, b=block: f"<!-- {n} -->\n{b}\n<!-- end -->", text)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    pages = {PAGE: page(), README: readme(), RECIPES: recipes(), ANALYSIS: analysis()}
    pages |= {path: filled(path.read_text(), blocks()) for path, blocks in STUDY.items()}
    for path, text in pages.items():
        if path.read_text() == text:
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
