"""What the study says of one loss: a marked block on the page of each loss that it tries."""

from collections.abc import Iterator
from pathlib import Path

from _study_tables import (
    FOLDER,
    above_and_below,
    counted,
    dropdown,
    in_points,
    interval,
    pair_names,
    places,
    setting,
    table,
)
from _tables import joined, prose
from study import plan
from study.report import score
from study.statistics import NONE, Cell, Column, Difference, Found, differences, label, read

LOSSES = Path(__file__).resolve().parents[1] / "docs" / "losses"
# The page of each method that is tried.
PAGES = {
    "kd": "logits/kd",
    "dist": "logits/index",
    "fitnet": "features/fitnet",
    "at": "features/attention_transfer",
    "gcrd": "contrast/gcrd",
    "glsp": "pairs/global_lsp",
    "nosmog": "pairs/global_lsp",
    "lsp": "neighbours/lsp",
    "ff_g2m": "neighbours/index",
    "krd": "neighbours/index",
    "tined": "levels/index",
    "vqgraph": "levels/index",
}
COLLAPSED = 20.0  # points of standard deviation, which a few seeds at chance have
STUDY = "{doc}`the study </study>`"
GRAPHS = ", graphs"  # behind a pair's name: rows of graphs were compared


def pages_of_losses() -> dict[Path, list[str]]:
    """The methods on each page."""
    paths: dict[Path, list[str]] = {}
    for method, page in PAGES.items():
        paths.setdefault(LOSSES / f"{page}.md", []).append(method)
    return paths


def loss_blocks(folder: Path = FOLDER) -> dict[str, str]:
    """The marked blocks of all methods."""
    found = read(folder)
    return {f"study of {method}": block(method, found) for method in PAGES}


def block(method: str, found: list[Found]) -> str:
    of = [
        (one, column._replace(cells=cells, student=f"{column.student}{rows}"))
        for one in found
        for column in one.columns
        for rows, cells in by_level(column.cells, method)
    ]
    if not of:
        return prose(f"{STUDY.replace('the', 'The')} lists it; no pair has been run to the end.")
    of.sort(key=lambda pair: not in_points(pair[1]))
    # A pair counts once, by its nodes, where rows of graphs were compared as well.
    scored = [pair for pair in of if in_points(pair[1]) and not pair[1].student.endswith(GRAPHS)]
    rows = []
    for name in (method, second(method)):
        # Against no distillation, a sum shows what KD gains.
        bases = (NONE, "kd") if name == method else (None, "kd")
        counts = [counted(against(scored, name, base)) if base else "" for base in bases]
        rows += [[label(name), *counts]] if any(counts) else []
    text = f"""{in_words(method, scored)} At p < 0.05, corrected by Holm; all
    settings were chosen on validation rows. What is not told apart may differ by as much as its
    interval holds. In how many pairs *above* · *not told apart* · *below*:"""
    both = (table(*half) for half in (differing(method, of), chosen(method, of)))
    return joined(
        prose(text),
        table(["", "no distillation", "KD"], rows),
        dropdown("Pair by pair", joined(prose(how_to_read(of)), *both)),
    )


def in_words(method: str, scored: list[tuple[Found, Column]]) -> str:
    """In how many pairs it is better, and worse, than no distillation and than KD."""
    outcomes = []
    for base, other in ((NONE, "no distillation"), ("kd", "KD")):
        if not (gains := against(scored, method, base)):
            continue
        above, below = (count or "none" for count in above_and_below(gains))
        if len(scored) > 1:
            outcomes.append(f"better than {other} in {above} and worse in {below}")
        else:
            how = {(1, "none"): "better than", ("none", 1): "worse than"}
            outcomes.append(f"{how.get((above, below), 'not told apart from')} {other}")
    pairs = f"{len(scored)} pairs" if len(scored) > 1 else "one pair"
    where = f"In {pairs} of {STUDY}, {label(method)} is"
    return f"**{where} {'; '.join(outcomes)}.**" if outcomes else ""


def how_to_read(of: list[tuple[Found, Column]]) -> str:
    errors = sorted({one.header["dataset"].rpartition(":")[2] for one, column in of
                     if not in_points(column)})  # fmt: skip
    but = f", but on {', '.join(errors)} minus the error, which is not counted above"
    collapsed = any(column.cells["kd"].sd > COLLAPSED for _, column in of if "kd" in column.cells)
    wide = f" The widest are of a pair in which seeds collapsed; {STUDY} says why."
    return f"""Scores are per cent{but if errors else ""}. Brackets are 95 % intervals, each on its
    own: one may exclude 0 where p, corrected, is above 0.05. Bold marks p below
    it.{wide if collapsed else ""}"""


def by_level(cells: dict[str, Cell], method: str) -> Iterator[tuple[str, dict[str, Cell]]]:
    """The cells whose rows are nodes, and those whose rows are graphs, if they have the method.

    There its name is bare. No distillation and KD compare no such rows, and go with both.
    """
    nodes = {name: cell for name, cell in cells.items() if "@" not in name}
    graphs = {name.partition("@")[0]: cell for name, cell in cells.items() if "@" in name}
    if method in nodes:
        yield "", nodes
    if method in graphs:
        yield GRAPHS, nodes | graphs


def second(method: str) -> str:
    """What is shown with a method: its sum with KD; with KD, what more trials give."""
    return plan.TWICE if method == "kd" else f"kd+{method}"


def against(of: list[tuple[Found, Column]], method: str, base: str) -> list[Difference]:
    gains = (differences(column.cells, base) for _, column in of)
    return [one[method] for one in gains if method in one]


def differing(method: str, of: list[tuple[Found, Column]]) -> tuple[list[str], list[list[str]]]:
    heads, rows = ["data, student", label(method), "− none"], []
    heads += ["− KD"] if method != "kd" else []
    beside = second(method)
    both = any(beside in column.cells for _, column in of)
    heads += [f"{label(beside)} − KD"] if both else []
    for name, (_, column) in zip(pair_names(of), of, strict=True):
        cell = column.cells[method]
        none, kd = (differences(column.cells, base) for base in (NONE, "kd"))
        size = places(cell.mean)
        row = [name, score(cell), interval(none.get(method), size)[0]]
        row += [interval(kd.get(method), size)[0]] if method != "kd" else []
        row += [interval(kd.get(beside), size)[0]] if both else []
        rows.append(row)
    return heads, rows


def chosen(method: str, of: list[tuple[Found, Column]]) -> tuple[list[str], list[list[str]]]:
    rows = [
        [name, setting(column.cells[method].options)]
        for name, (_, column) in zip(pair_names(of), of, strict=True)
    ]
    return ["data, student", "chosen"], rows
