"""The tables of one data set in docs/study_data.md, and what the study's pages share."""

import shlex
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from _tables import RESULTS, image, joined, prose
from _tables import table as wrapped

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

from study import plan
from study.report import bound, decimal, places, score
from study.statistics import (
    NONE,
    Cell,
    Column,
    Difference,
    Found,
    differences,
    label,
)

FOLDER = RESULTS / "study"
SMALL = 0.05
SHORTER = {"lr": "rate", "weight_decay": "decay", "temperature": "T"}


def section(found: Found) -> str:
    columns = [column for column in found.columns if len(column.cells) > 1]
    tabs = {"models alone": made((f"{name} ({role})", cell) for role, name, cell in alone(found))}
    tabs |= {column.name: closer(column) for column in columns}
    items = (f":::{{tab-item}} {name}\n{content}\n:::" for name, content in tabs.items())
    return joined(
        f"## {found.title}",
        prose(f"`{command(found)}`: {sizes(found)}"),
        models(found),
        scores(found, columns),
        prose(missing(found)),
        forest(found, columns),
        dropdown("Differences, settings, costs", joined("::::{tab-set}", *items, "::::")),
    )


def command(found: Found) -> str:
    """What makes the file: flags that differ from the defaults are there."""
    head, limits = found.header, found.header["limits"]
    flags = ["--datasets", head["dataset"], "--out", "benchmarks/results/study"]
    if head["setting"] != "transductive":
        flags += ["--setting", head["setting"]]
    trials = max((cell.trials for *_, cell in alone(found)), default=plan.TRIALS)
    given = {"seeds": found.seeds, "tuning-seeds": found.tuning_seeds, "trials": trials,
             "epochs": limits["epochs"], "patience": limits["patience"],
             "max-samples": limits["max_samples"]}  # fmt: skip
    usual = {"seeds": plan.SEEDS, "tuning-seeds": plan.TUNING_SEEDS, "trials": plan.TRIALS,
             "epochs": plan.EPOCHS, "patience": plan.PATIENCE, "max-samples": 1024}  # fmt: skip
    of_teachers = {cell.trials for cell in found.teachers.values()} - {trials}
    flags += ["--teacher-trials", str(max(of_teachers))] if of_teachers else []
    for name, value in given.items():
        flags += [f"--{name}", str(value)] if value != usual[name] else []
    return f"python -m examples.study {shlex.join(flags)}"


def sizes(found: Found) -> str:
    facts = found.facts
    if not facts:
        return "sizes and parameters are not recorded; the command adds them once all is run."
    rows = ", ".join(f"{n:,} {'validate' if part == 'val' else part.replace('_', ', ')}"
                     for part, n in facts["rows"].items())  # fmt: skip
    graphs = f"{facts['graphs']:,} graphs, " if facts["graphs"] > 1 else ""
    split = "drawn by the seed, test rows aside" if facts["split_is_drawn"] else "the data set's"
    unseen = ""
    if found.header["setting"] == "production":
        unseen = " The test nodes are unseen in training; the seed draws them from all."
    return f"""{graphs}{facts["nodes"]:,} nodes, {facts["edges"]:,} edges, {facts["features"]:,}
    features, {facts["outputs"]} outputs. Of the {facts["rows_are"]} {rows}; the split is {split}.
    Scores: {facts["metric"]}; {found.seeds} seeds.{unseen}"""


def models(found: Found) -> str:
    parameters = found.facts.get("parameters", {})
    rows = []
    for role, name, cell in alone(found):
        size = parameters.get(f"{role} {name}")
        rows.append([f"{name} ({role})", f"{size:,}" if size else "–", *tested(cell)])
    seen = ["seen in training"] if any(cell.seen for *_, cell in alone(found)) else []
    return table(["alone", "parameters", "test", *seen], rows)


def alone(found: Found) -> Iterator[tuple[str, str, Cell]]:
    for role, cells in (("teacher", found.teachers), ("student", found.students)):
        for name, cell in cells.items():
            yield role, name, cell


def tested(cell: Cell) -> list[str]:
    """The score, and that of test rows seen in training if there are some."""
    if not cell.seen:
        return [score(cell)]
    return [score(cell), score(cell._replace(scores=cell.seen))]


def scores(found: Found, columns: list[Column]) -> str:
    """The scores of all methods, a column for each pair."""
    if not columns:
        return ""
    against = [differences(column.cells, "kd") for column in columns]
    rows = []
    for method in [NONE, "kd", *methods(columns)]:
        row = [label(method)]
        for column, one in zip(columns, against, strict=True):
            cell, mark = column.cells.get(method), ""
            if method in one and sure(one[method]):
                mark = " ▲" if one[method].mean > 0 else " ▼"
            row.append(score(cell) + mark + ("\\*" if cell.failed else "") if cell else "")
        rows.append(row)
    least = bound(columns)
    resolution = f"No p can be below {least}." if least else ""
    return joined(
        table(["method", *(column.name for column in columns)], rows),
        prose(f"▲ ▼: above, below KD with p < 0.05. {resolution}"),
    )


def missing(found: Found) -> str:
    """The cells that are not shown, and runs that failed."""
    parts, failed = [], []
    for column in found.columns:
        begun = [f"{label(name)} ({n} of {found.seeds} seeds)" if n else f"{label(name)} (trials)"
                 for name, n in column.unfinished.items()]  # fmt: skip
        known = {*column.cells, *column.unfinished}
        rest = [name for name in plan.methods_for(column.student) if name not in known]
        begun += [f"{len(rest)} methods not begun" if len(rest) > 3 else
                  f"{', '.join(map(label, rest))} (not begun)"] if rest else []  # fmt: skip
        parts += [f"{column.name}: {', '.join(begun)}"] if begun else []
        failed += [f"{column.name}, {label(name)}: {cell.failed} of {cell.runs}"
                   for name, cell in column.cells.items() if cell.failed]  # fmt: skip
    lines = [f"Not complete (p counts the methods that are): {'; '.join(parts)}."] if parts else []
    lines += [f"\\* Runs that failed, not in the means: {'; '.join(failed)}."] if failed else []
    return " ".join(lines)


def forest(found: Found, columns: list[Column]) -> str:
    if not any(len(column.cells) > 2 for column in columns):
        return ""
    return wide(image(f"_static/{picture(found)}", f"{found.title}: differences to KD"))


def picture(found: Found) -> str:
    return f"study_{found.header['dataset'].replace(':', '-')}_{found.header['setting']}.svg"


def closer(column: Column) -> str:
    """The differences of a pair, and the settings and costs behind them."""
    bases = [NONE, "kd", *([plan.TWICE] if plan.TWICE in column.cells else [])]
    against = [differences(column.cells, base) for base in bases]
    seen = any(cell.seen for cell in column.cells.values())
    rows = []
    for name, cell in column.cells.items():
        gains = (interval(of.get(name), places(cell.mean)) for of in against)
        rows.append([label(name), *tested(cell), *chain(*gains)])
    head = ["method", "test", *(["seen in training"] if seen else []), "− none", "p", "− KD", "p"]
    head += [f"− {label(plan.TWICE)}", "p"] if len(bases) > 2 else []
    return joined(
        table(head, rows),
        made((label(name), cell) for name, cell in column.cells.items() if name != NONE),
    )


def made(cells: Iterable[tuple[str, Cell]]) -> str:
    """The settings that were chosen, and what choosing and training took."""
    rows = []
    for name, cell in cells:
        failed = f" ({cell.failed_trials} runs failed)" if cell.failed_trials else ""
        edges = ", ".join(SHORTER.get(option, option) for option in cell.edges)
        rows.append([name, setting(cell.options), f"{cell.trials}{failed}", edges,
                     f"{cell.seconds:.3f}"])  # fmt: skip
    return table(["", "setting", "trials", "at an edge", "s / epoch"], rows)


def interval(found: Difference | None, size: int) -> list[str]:
    if found is None:
        return ["", ""]
    mean, low, high = (decimal(x, size + 1, "+") for x in (found.mean, found.low, found.high))
    text = f"{mean} [{low},\u00a0{high}]" if found.n > 1 else mean
    return [f"**{text}**" if sure(found) else text, chance(found.p)]


def setting(options: dict) -> str:
    parts = [f"{SHORTER.get(name, name)} {value:g}" if isinstance(value, float) else
             f"{SHORTER.get(name, name)} {'–' if value is None else value}"
             for name, value in options.items()]  # fmt: skip
    return ", ".join(parts)


# What these share ---------------------------------------------------------------------------------


def methods(columns: list[Column]) -> list[str]:
    """All methods but KD and none, in the order of the plan."""
    every = dict.fromkeys(name for column in columns for name in column.cells)
    planned = [name for name in (*plan.METHODS, *plan.FOR_MLP) if name in every]
    return [name for name in dict.fromkeys([*planned, *every]) if name not in (NONE, "kd")]


def sure(found: Difference) -> bool:
    return found.p < SMALL


def above_and_below(gains: list[Difference]) -> tuple[int, int]:
    """In how many pairs a method is above another, and below."""
    above, below = (sum(sure(one) and sign * one.mean > 0 for one in gains) for sign in (1, -1))
    return above, below


def counted(gains: list[Difference]) -> str:
    """In how many pairs a method is above another, not told apart from it, and below."""
    above, below = above_and_below(gains)
    return f"{above} · {len(gains) - above - below} · {below}" if gains else ""


def pair_names(found: list[tuple[Found, Column]]) -> list[str]:
    """Data set and student of each pair, with the teachers where a student has several."""
    names = [(one.title, column.student) for one, column in found]
    several = {title for title, student in names if names.count((title, student)) > 1}
    return [
        f"{one.title}, {column.name if one.title in several else column.student}"
        for one, column in found
    ]


def in_points(column: Column) -> bool:
    """Whether the pair's scores are in per cent, and its teacher's is there."""
    return column.teaching is not None and column.teaching.mean >= 10


def chance(p: float, equal: str = "") -> str:
    return f"{equal}{p:.2g}" if p >= 0.001 else "< 0.001"


def listed(numbers: list[int]) -> str:
    return " or ".join(map(str, numbers))


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table whose cells stay on a line."""
    return wrapped(header, [[text.replace(" ", "\u00a0") for text in row] for row in rows])


def wide(figure: str) -> str:
    """A figure that scrolls where the screen is narrow."""
    return f"::::{{div}} wide\n{figure}\n::::"


def dropdown(title: str, content: str) -> str:
    return f":::::{{dropdown}} {title}\n{content}\n:::::"
