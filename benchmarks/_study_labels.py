"""What docs/study.md says of the number of labels: the same pair with fewer of them, or more."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from _study_tables import FOLDER, interval, listed, places, score, table, wide
from _tables import image, joined, prose
from study.similarity import interval as mean_interval
from study.statistics import NONE, Column, differences, label, read

from graphkd.diagnostics.plots._axes import COLOURS, GREY, open_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURE = "study_labels.svg"
METHODS = [NONE, "kd", "gcrd"]  # of the figure, beside the teacher


class Point(NamedTuple):
    labelled: int  # training nodes
    column: Column


def curves(folder: Path = FOLDER) -> dict[str, list[Point]]:
    """Each pair by the number of its labelled nodes, that of the study among them."""
    files = read(folder / "labels")
    found: dict[str, list[Point]] = {}
    bases = {one.header["dataset"].partition("[")[0] for one in files}
    for one in [*files, *(one for one in read(folder) if one.header["dataset"] in bases)]:
        name = re.sub(r"\[.*?\]", "", one.title)
        for column in one.columns:
            if {*METHODS} <= column.cells.keys() and "rows" in one.facts:
                point = Point(one.facts["rows"]["train"], column)
                found.setdefault(f"{name}, {column.name}", []).append(point)
    return {name: sorted(points, key=lambda x: x.labelled) for name, points in found.items()
            if len(points) > 1}  # fmt: skip


def label_blocks(folder: Path = FOLDER) -> dict[str, str]:
    found = curves(folder)
    if not found:
        return {}
    text = """The same teacher and student, tuned anew at each number of labelled nodes; test nodes
    stay, and as many validate, as far as they are left. Differences are paired over the seeds,
    means with their 95 % intervals; bold marks p < 0.05, corrected by Holm.
    `python -m examples.study --datasets "Digits[labelled=20]" --teachers GraphSAGE --students MLP
    --methods kd gcrd --out benchmarks/results/study/labels` prints a row; with another `--out` it
    runs it anew."""
    head = ["", "labelled", "teacher", "alone", "KD − none", "G-CRD − none", "G-CRD − KD", "trials"]
    rows = [row(name, point) for name, points in found.items() for point in points]
    picture = image(f"_static/{PICTURE}", "Scores of teachers and students by labelled nodes")
    return {"study labels": joined(prose(text), wide(picture), table(head, rows))}


def row(name: str, point: Point) -> list[str]:
    column, size = point.column, places(point.column.cells[NONE].mean)
    to_none, to_kd = (differences(column.cells, base) for base in (NONE, "kd"))
    gains = to_none["kd"], to_none["gcrd"], to_kd["gcrd"]
    models = (score(cell) for cell in (column.teaching, column.cells[NONE]))
    trials = column.cells["kd"].trials, column.cells["gcrd"].trials
    found = [interval(gain, size - 1)[0] for gain in gains]  # as the scores: the table is wide
    return [name, f"{point.labelled:,}", *models, *found, listed(sorted({*trials}))]


def draw_labels(found: dict[str, list[Point]]) -> "Figure":
    """A panel for each pair: scores by the number of labelled nodes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.6 * len(found) + 1.2, 2.8), layout="constrained")
    axes = figure.subplots(1, len(found), squeeze=False)[0]
    for ax, (name, points) in zip(axes, found.items(), strict=True):
        x = [point.labelled for point in points]
        lines = {"teacher": [point.column.teaching for point in points]}
        lines |= {method: [point.column.cells[method] for point in points] for method in METHODS}
        for (method, cells), colour in zip(lines.items(), (GREY, *COLOURS), strict=False):
            means = [mean_interval([*cell.scores.values()]) for cell in cells]
            middle, around = [mean for mean, *_ in means], [mean - low for mean, low, _ in means]
            style = "--" if method == "teacher" else "-"
            shown = method if method == "teacher" else label(method)
            ax.errorbar(x, middle, around, color=colour, linestyle=style, marker="o", markersize=4,
                        linewidth=1.4, label=shown)  # fmt: skip
        ax.set_title(name.replace(", ", "\n", 1), size=9)
        ax.set_xscale("log")
        _ticks(ax, x)
        open_frame(ax)
    axes[0].set_ylabel("test score, %")
    figure.supxlabel("labelled nodes", size=9)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper", frameon=False)
    return figure


def _ticks(ax: "Axes", x: list[int]) -> None:
    from matplotlib.ticker import NullLocator

    ax.set_xticks(x, [f"{n:,}" for n in x])
    ax.xaxis.set_minor_locator(NullLocator())
