"""The tables that the study prints: for each teacher and student, the methods and their gains."""

import math
from collections.abc import Iterable
from pathlib import Path
from statistics import mode

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .statistics import NONE, Cell, Column, Difference, Found, differences, label, read, smallest

NOTE = """Scores are mean ± standard deviation over the seeds. Differences are paired by seed; \
their ± is half the width of the 95 % interval, which covers what a seed draws, and neither other \
test rows nor another choice of settings. p: Wilcoxon's signed-rank test, with Holm's correction: \
KD, G-CRD and their sum among themselves, another method among all of a table; bold below 0.05."""


def show(folder: Path, names: list[str] | None = None) -> None:
    """Print what the files of a folder hold, or those of the data sets that are named."""
    console = Console(highlight=False, markup=False)  # names have brackets
    found = [one for one in read(folder) if names is None or one.header["dataset"] in names]
    for one in found:
        for column in one.columns:
            console.print(table(one, column))
            for line in notes(column):
                console.print(line)
            console.print()
    if any(one.columns for one in found):
        console.print(NOTE, style="dim")
    files = ", ".join(sorted(path.name for path in folder.glob("*.jsonl"))) or "no runs yet"
    console.print(f"Results: {folder.resolve()} ({files})", style="bold", soft_wrap=True)


def table(found: Found, column: Column) -> Table:
    title = f"{found.title}: {column.name}, {found.seeds} seeds"
    close = {"box": box.SIMPLE_HEAD, "pad_edge": False, "collapse_padding": True}
    table = Table(title=title, title_justify="left", title_style="bold", **close)
    table.add_column("")
    for name in (f"test\n{found.facts.get('metric', 'score')}", "− none", "p", "− KD", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    if column.teaching is not None:
        table.add_row(f"teacher {column.teacher}", score(column.teaching))
    none, kd = (differences(column.cells, base) for base in (NONE, "kd"))
    for method, one in column.cells.items():
        name = f"{column.student} alone" if method == NONE else label(method)
        gains = [text for gains in (none, kd) for text in gain(gains.get(method), one.mean)]
        table.add_row(name, score(one), *gains)
    return table


def notes(column: Column) -> list[str]:
    """What a reader of the table must know."""
    lines, cells = [], column.cells
    if column.close:
        ahead = decimal(column.gap, 1, "+")
        lines.append(f"The teacher minus the student alone is {ahead}, below two points.")
    lines += [f"Against KD, no p can be below {one}." for one in [bound([column])] if one]
    trials = {label(name): one.trials for name, one in cells.items()}
    usual = mode(trials.values())
    trials["the teacher"] = column.teaching.trials if column.teaching else usual
    others = [f", of {name} {n}" for name, n in trials.items() if n != usual]
    lines.append(f"Trials of a method: {usual}{''.join(others)}.")
    listed = {
        "Runs that failed": {name: one.failed for name, one in cells.items()},
        "At the edge of what was tried": {name: one.edges for name, one in cells.items()},
        "Not finished": {name: f"{n} seeds" for name, n in column.unfinished.items()},
    }
    for what, of in listed.items():
        parts = [
            f"{label(name)} ({', '.join(x) if isinstance(x, list) else x})"
            for name, x in of.items()
            if x
        ]
        lines += [f"{what}: {', '.join(parts)}."] if parts else []
    return lines


def bound(columns: Iterable[Column]) -> str:
    """The smallest p that the seeds allow, by the number of methods in a family."""
    least = dict(sorted(pair for one in columns for pair in smallest(one.cells).items()))
    return ", ".join(f"{p:.2g} among {n} method{'s' * (n > 1)}" for n, p in least.items())


def score(cell: Cell) -> str:
    if not cell.scores:
        return "failed"
    digits = places(cell.mean)
    return f"{decimal(cell.mean, digits)} ± {decimal(cell.sd, digits)}"


def gain(found: Difference | None, size: float) -> tuple[Text, str]:
    """A difference with half its interval, and p."""
    if found is None:
        return Text(), ""
    digits = 1 + places(size)
    text = decimal(found.mean, digits, "+")
    if found.n > 1:
        text += f" ± {decimal(found.high - found.mean, digits)}"
    return Text(text, style="bold" if found.p < 0.05 else ""), f"{found.p:.2g}"


def places(size: float) -> int:
    """The digits that suit scores of this size: per cent, or errors near 1."""
    return 1 if abs(size) >= 10 else 3


def decimal(value: float, digits: int, sign: str = "") -> str:
    if math.isnan(value):
        return "–"
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}".replace("-", "−")
