"""docs/tuning.md: the weights and temperatures that the study's searches tried and chose."""

from math import nan
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from _study_tables import FOLDER, in_points, table
from study.statistics import Cell, Column, Found, label, read

from graphkd.diagnostics.plots._axes import COLOURS, open_frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE = "study_weights.svg"
METHODS = ("kd", "gcrd", "kd+gcrd")
NEAR, DEEPEST = 1.0, 16.0  # points
MLP, OTHERS = "an MLP", "a GNN or SIGN"
LINES = {MLP: (COLOURS[0], "o"), OTHERS: (COLOURS[1], "s")}


def settings_blocks(folder: Path = FOLDER) -> dict[str, str]:
    """The marked blocks of the page; none without results."""
    found = searched(folder)
    return {"study settings": spans(found), "study weights": plateaus(found)} if found else {}


def searched(folder: Path = FOLDER) -> list[tuple[Found, Column]]:
    """The pairs with scores in per cent that have KD and G-CRD."""
    return [
        (one, column)
        for one in read(folder)
        for column in one.columns
        if in_points(column) and {"kd", "gcrd"} <= column.cells.keys()
    ]


def kind(column: Column) -> str:
    return MLP if column.student == "MLP" else OTHERS


def spans(found: list[tuple[Found, Column]]) -> str:
    """What was chosen: the middle one and both ends; and the weight that is near most often."""
    rows = []
    for name in METHODS:
        for student in LINES:
            cells = [
                column.cells[name]
                for _, column in found
                if kind(column) == student and name in column.cells
            ]
            if cells:
                chosen = (
                    [cell.options[key] for cell in cells] for key in ("weight", "temperature")
                )
                rows.append([label(name), student, str(len(cells)), *map(_span, chosen),
                             _safest(cells)])  # fmt: skip
    head = ["method", "student", "pairs", "weight", "temperature", "most often near the best"]
    return table(head, rows)


def _safest(cells: list[Cell]) -> str:
    """The weight that is within a point of the best in most pairs, the smallest of several."""
    tried = [*map(best_at, cells)]
    near = [
        weight
        for scores in tried
        for weight, score in scores.items()
        if score >= max(scores.values()) - NEAR
    ]
    weight = max(sorted({*near}), key=near.count)
    return f"{_short(weight)}, in {near.count(weight)} of {sum(weight in x for x in tried)}"


def _span(values: list[float]) -> str:
    return f"{_short(median(values))} ({_short(min(values))} to {_short(max(values))})"


def _short(value: float) -> str:
    """Two digits, without an exponent."""
    return f"{float(f'{value:.2g}'):,.10f}".rstrip("0").rstrip(".")


def best_at(cell: Cell) -> dict[float, float]:
    """The best mean validation score of the trials at each weight, in the order of weights."""
    found: dict[float, float] = {}
    for options, score in cell.tried:
        found[options["weight"]] = max(score, found.get(options["weight"], -float("inf")))
    return dict(sorted(found.items()))


def plateaus(found: list[tuple[Found, Column]]) -> str:
    """The weights within a point of the pair's best, as far as they follow one another."""
    rows = []
    for one, column in sorted(found, key=lambda pair: kind(pair[1]) != MLP):
        cells = [column.cells[name] for name in ("kd", "gcrd")]
        rows.append([f"{one.title}, {column.name}", *(_plateau(best_at(cell)) for cell in cells)])
    return table(["pair", "KD", "G-CRD"], rows)


def _plateau(scores: dict[float, float]) -> str:
    weights, top = list(scores), max(scores.values())
    low = high = weights.index(max(scores, key=lambda weight: scores[weight]))
    while low > 0 and scores[weights[low - 1]] >= top - NEAR:
        low -= 1
    while high + 1 < len(weights) and scores[weights[high + 1]] >= top - NEAR:
        high += 1
    first, last = low == 0, high + 1 == len(weights)
    if first and last:
        return "any that was tried"
    if first or last:
        return f"{_short(weights[high])} or less" if first else f"{_short(weights[low])} or more"
    ends = dict.fromkeys((weights[low], weights[high]))
    return " to ".join(map(_short, ends))


def draw_weights(found: list[tuple[Found, Column]]) -> "Figure":
    """A line for each pair: how far below its best the trials at each weight stay."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.3, 3.6), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, name in zip(panels, ("kd", "gcrd"), strict=True):
        for _, column in found:
            colour, mark = LINES[kind(column)]
            scores = best_at(column.cells[name])
            top = max(scores.values())
            gaps = [max(score - top, -DEEPEST) for score in scores.values()]
            axes.plot([*scores], gaps, color=colour, marker=mark, ms=3, lw=1.2, alpha=0.8)
        axes.set(xscale="log", title=label(name), xlabel="weight beside the task's loss")
        axes.axhspan(-NEAR, 0, color="0.93", zorder=0)
        open_frame(axes)
    panels[0].set_ylabel("validation score − best of the pair, points")
    for student, (colour, mark) in LINES.items():
        panels[0].plot([nan], [nan], color=colour, marker=mark, ms=4, label=f"{student} learns")
    panels[0].legend(loc="lower right", frameon=False)
    return figure
