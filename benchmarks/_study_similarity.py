"""What the study's page on similarity says: what students have of their teachers."""

import math
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from _study_lead import SHOWN
from _study_parts import lines_of, title
from _study_tables import FOLDER, dropdown, listed, table, wide
from _tables import image, joined, prose
from study import plan, similarity
from study.report import decimal
from study.similarity import Column
from study.statistics import NONE, label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Columns = dict[str, Column]  # by title
PRESERVED, PAIRS = "study_preservation.svg", "study_preservation_pairs.svg"
# Below so many methods, a rank correlation says nothing of its pair.
FEWEST = 5
CHANGES = [("kd", NONE), ("gcrd", NONE), ("gcrd", "kd"), ("kd+gcrd", "kd")]


def measured(folder: Path = FOLDER) -> Columns:
    """The columns whose test runs were measured, in the cells' files or in those of the part."""
    found: Columns = {}
    for path in sorted([*folder.glob("*.jsonl"), *(folder / "similarity").glob("*.jsonl")]):
        header, lines = lines_of(path)
        for pair, column in similarity.columns(lines).items():
            found.setdefault(title(header, *pair), {}).update(column)
    return {name: ordered(column) for name, column in found.items()}


def ordered(column: Column) -> Column:
    planned = [name for name in (NONE, *plan.METHODS, *plan.FOR_MLP) if name in column]
    return {name: column[name] for name in dict.fromkeys([*planned, *column])}


def similarity_blocks(folder: Path = FOLDER) -> dict[str, str]:
    columns = measured(folder)
    if not columns:
        return {}
    return {"similarity": joined(prediction(columns), changes(columns), *preserved(columns))}


def preserved(columns: Columns) -> list[str]:
    """What each method preserves, by column."""
    local = {name: one for name, one in columns.items() if has_local(one)}
    parts = []
    if of_many(local):
        parts.append(wide(image(f"_static/{PRESERVED}", "Local against global preservation")))
    if of_four(local):
        picture = wide(image(f"_static/{PAIRS}", "Local against global preservation in every pair"))
        parts.append(dropdown("Local against global preservation, pair by pair", picture))
    for name, column in columns.items():
        rows = []
        for method, runs in column.items():
            cells = [f"{fmean(runs['accuracy']):.1f}"]
            cells += [spread(runs[measure]) for measure in similarity.MEASURES]
            rows.append([label(method), *cells])
        head = ["method", "score", *similarity.MEASURES.values()]
        parts.append(dropdown(name, table(head, rows)))
    return parts


def has_local(column: Column) -> bool:
    return all(not math.isnan(x) for runs in column.values() for x in runs["local"])


def spread(values: list[float]) -> str:
    if any(map(math.isnan, values)):
        return "–"
    return bracketed(*similarity.interval(values))


def bracketed(mean: float, low: float, high: float) -> str:
    return f"{decimal(mean, 2)} [{decimal(low, 2)}, {decimal(high, 2)}]"


def prediction(columns: Columns) -> str:
    """Whether a student that is more like its teacher is better."""
    rows = []
    for name, column in of_many(columns).items():
        cells = []
        for measure in similarity.MEASURES:
            if any(math.isnan(x) for runs in column.values() for x in runs[measure]):
                cells.append("–")
                continue
            cells.append(bracketed(*similarity.rank_correlation(column, measure)[:3]))
        rows.append([name, str(len(column)), *cells])
    seeds = sorted({len(runs["accuracy"]) for one in columns.values() for runs in one.values()})
    text = f"""Spearman's rank correlation of a measure with the score, over the methods of a pair,
    no distillation among them, each at its mean over {listed(seeds)} seeds, with the interval
    that holds 95 % of 2,000 bootstrap samples of the methods. Measures are calibrated: 0 is what
    random matchings of the rows have, 1 is equality."""
    return joined(prose(text), table(["", "methods", *similarity.MEASURES.values()], rows))


def changes(columns: Columns) -> str:
    """What losses change in likeness, and whether it goes along with the score, over data sets."""
    every = of_four(columns)
    if len({dataset(name) for name in every}) < 2:
        return ""
    rows = []
    for measure, named in similarity.MEASURES.items():
        agrees = {name: similarity.spearman(one, measure) for name, one in every.items()}
        rows.append([named, over_sets(agrees, most=1.0)])
        for pair in CHANGES:
            rows[-1].append(over_sets({x: change(y, measure, *pair) for x, y in every.items()}))
    head = ["", "rank correlation", *(" − ".join(map(short, pair)) for pair in CHANGES)]
    text = f"""Over data sets: what a loss changes in a measure, and how a measure's order of the
    four methods agrees with that of their scores, in {len(every)} pairs. Pairs of a data set, in
    either setting, are averaged first; brackets hold 95 % by Student's t over the data sets, of
    which there are {len({*map(dataset, every)})}; {sets_with_local(every)} have a local structure,
    which is not defined among nodes of several types. Bold leaves 0 out, each interval on its
    own."""
    return joined(prose(text), table(head, rows))


def of_four(columns: Columns) -> Columns:
    """The columns that have the four methods, without others."""
    return {
        name: {method: column[method] for method in SHOWN}
        for name, column in columns.items()
        if {*SHOWN} <= column.keys()
    }


def of_many(columns: Columns) -> Columns:
    return {name: column for name, column in columns.items() if len(column) >= FEWEST}


def of_most(columns: Columns) -> Columns:
    """The one column that has most methods, if these are many."""
    many = of_many(columns)
    return dict([max(many.items(), key=lambda item: len(item[1]))]) if many else {}


def dataset(name: str) -> str:
    """That of a title."""
    return name.split(",")[0]


def short(method: str) -> str:
    return "none" if method == NONE else label(method)


def change(column: Column, measure: str, method: str, other: str) -> float:
    return fmean(column[method][measure]) - fmean(column[other][measure])


def sets_with_local(columns: Columns) -> int:
    return len({dataset(name) for name, column in columns.items() if has_local(column)})


def over_sets(values: dict[str, float], most: float = math.inf) -> str:
    """The mean over data sets, with its interval, of the columns that have a value.

    A correlation's interval ends at 1 at most.
    """
    by_set = defaultdict(list)
    for name, value in values.items():
        if not math.isnan(value):
            by_set[dataset(name)].append(value)
    if len(by_set) < 2:
        return "–"
    mean, low, high = similarity.interval([*map(fmean, by_set.values())])
    low, high = max(low, -most), min(high, most)
    text = bracketed(mean, low, high)
    return f"**{text}**" if low > 0 or high < 0 else text


# Figures ------------------------------------------------------------------------------------------


def draw_preserved(columns: Columns) -> "dict[str, Figure]":
    """Local against global preservation: the pair of most methods, and four in all pairs."""
    local = {name: one for name, one in columns.items() if has_local(one)}
    return {
        file: similarity.figure(shown, label)
        for file, shown in ((PRESERVED, of_most(local)), (PAIRS, of_four(local)))
        if shown
    }
