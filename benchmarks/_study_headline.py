"""What the study's page begins with: students alone, distilled, and their teachers."""

from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from _study_guide import guide
from _study_lead import SHOWN, counts
from _study_tables import FOLDER, in_points, interval, pair_names, places, table
from study.report import decimal, score
from study.statistics import NONE, Column, Found, difference, differences, label, read

from graphkd.diagnostics.plots._axes import COLOURS, GREY, open_frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE = "study_headline.svg"
# KD and its sum with G-CRD stand one above the other where they are equal.
MARKS = {NONE: ("o", GREY, 0), "kd": ("s", COLOURS[1], -0.15), "gcrd": ("^", COLOURS[0], 0),
         "kd+gcrd": ("D", COLOURS[4], 0.15)}  # fmt: skip


def headline_blocks(folder: Path = FOLDER) -> dict[str, str]:
    """Marked blocks of the study's page, the counts also of others; none without results."""
    found = shown(folder)
    if not found:
        return {}
    return {
        "study counts": counts(found),
        "study headline": headline(found),
        "study guide": guide(found),
        "study production": production(found),
        "study embeddings": embeddings(found),
    }


def shown(folder: Path) -> list[tuple[Found, Column]]:
    """The pairs that have all that is shown, and scores in per cent."""
    return [
        (one, column)
        for one in read(folder)
        for column in one.columns
        if {*SHOWN} <= column.cells.keys() and in_points(column)
    ]


def headline(found: list[tuple[Found, Column]]) -> str:
    rows = []
    for name, (_, column) in zip(pair_names(found), found, strict=True):
        cells = [column.cells[method] for method in SHOWN]
        alone, kd, *_, sum_ = cells
        pairs = (sum_, kd), (column.teaching, alone)
        gains = [interval(difference(one.scores, other.scores), places(kd.mean))[0]
                 for one, other in pairs]  # fmt: skip
        teacher = decimal(column.teaching.mean, places(kd.mean))
        rows.append(
            [name, teacher, *map(score, cells), *(gain.replace("**", "") for gain in gains)]
        )
    sums = "KD + G-CRD − KD", "teacher − alone"
    return table(["data, student", "teacher", "alone", *map(label, SHOWN[1:]), *sums], rows)


def production(found: list[tuple[Found, Column]]) -> str:
    """What is gained on nodes that neither model saw in training."""
    pairs = ("kd", NONE), ("gcrd", NONE), ("gcrd", "kd"), ("kd+gcrd", "kd")
    rows = []
    for one, column in found:
        if column.setting == "production":
            gains = (interval(differences(column.cells, base)[method], 0)[0]
                     for method, base in pairs)  # fmt: skip
            name = one.title.removesuffix(", production")
            rows.append([f"{name}, {column.name}", decimal(column.gap, 1, "+"), *gains])
    heads = (
        f"{label(method)} − {'none' if base == NONE else label(base)}" for method, base in pairs
    )
    return table(["data, student", "lead", *heads], rows) if rows else "No pair has been run."


def embeddings(found: list[tuple[Found, Column]]) -> str:
    """What the paper's losses of embeddings bring without KD, where any but G-CRD was run."""
    losses = "fitnet", "at", "lsp", "glsp"
    methods = "kd", "gcrd", *losses
    rows = []
    for name, (_, column) in zip(pair_names(found), found, strict=True):
        if {*losses} & column.cells.keys():
            gains = differences(column.cells, NONE)
            rows.append([name, *(interval(gains.get(method), 0)[0] for method in methods)])
    return table(["data, student", *map(label, methods)], rows) if rows else "No pair has been run."


def draw_headline(found: list[tuple[Found, Column]]) -> "Figure":
    """A row for each pair: the student alone, distilled, and the teacher; medians over the seeds.

    A median does not show a seed that collapsed. The tables do, by mean and deviation.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 1.1 + 0.34 * len(found)), layout="constrained")
    ax = figure.subplots()
    for y, (_, column) in enumerate(found):
        scores = [median(column.cells[name].scores.values()) for name in SHOWN]
        teacher = median(column.teaching.scores.values())
        ax.plot([scores[0], teacher], [y, y], color="#d1d5db", linewidth=3, zorder=1)
        ax.plot([teacher] * 2, [y - 0.32, y + 0.32], color="black", linewidth=2,
                label="teacher" if y == 0 else None)  # fmt: skip
        for name, value in zip(SHOWN, scores, strict=True):
            marker, colour, shift = MARKS[name]
            text = "student alone" if name == NONE else label(name)
            ax.plot(value, y + shift, marker, color=colour, markersize=7, zorder=2, linestyle="",
                    label=text if y == 0 else None)  # fmt: skip
    ax.set_yticks(range(len(found)), pair_names(found))
    ax.set_ylim(len(found) - 0.5, -0.5)
    metrics = {one.facts.get("metric", "score") for one, _ in found}
    name = metrics.pop() if len(metrics) == 1 else "score"
    ax.set_xlabel(f"test {name}, median of the seeds")
    open_frame(ax)
    figure.legend(loc="outside upper center", ncols=5, frameon=False)
    return figure
