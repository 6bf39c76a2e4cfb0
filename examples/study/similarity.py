"""How alike student and teacher are: measured after a run, and whether it predicts accuracy.

`--similarity` puts what `measured` gives into the lines of test runs. The other functions read
lines. A column is a student beside a teacher; of its methods, each is a point.
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from scipy.stats import rankdata, t
from torch import nn

import graphkd
from graphkd import diagnostics

from .batches import Batches
from .data import Problem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Enough for the mean of what chance gives, so that measuring takes less than the run.
PERMUTATIONS = 10
NEAREST = 10  # neighbours
MOST = 10_000  # rows among which neighbours are looked for: a sample, if there are more
ACROSS = 3  # panels of a figure
MEASURES = {
    "cka": "CKA", "global": "global structure", "local": "local structure", "overlap": "neighbours",
}  # fmt: skip

# What names a job in a line, and what says how it was made.
JOB, HOW = ("model", "is_teacher", "teacher", "method", "level"), ("given", "options")

Values = dict[str, list[float]]  # of the runs of a method, by measure; "accuracy" is one, too
Column = dict[str, Values]  # by method


@torch.no_grad()
def measured(model: nn.Module, problem: Problem) -> dict[str, float | None]:
    """Four measures on all rows to learn from, in evaluation mode, each with what chance gives.

    Chance is the mean over PERMUTATIONS random matchings of the rows, and their deviation. Of
    neighbours it is known: each of k has k of n - 1 chances. Rows are those of nodes, or of graphs
    if these have the labels. Rows of graphs have no edges, and so no local structure. What is
    undefined is None.

    Args:
        model: A student, trained.
        problem: It has the teacher's outputs.
    """
    model.eval()
    rows_s, rows_t = [], []
    with graphkd.Tap(model, model.layers[problem.level]) as tap:
        many = Batches(problem, [f"h_{problem.level}"]).in_order() if problem.many else None
        for batch in many or problem.learn:
            model(batch)
            sides = tap.value, batch[f"h_{problem.level}"]
            if problem.task == "hetero":
                sides = (side[batch.target] for side in sides)
            for rows, side in zip((rows_s, rows_t), sides, strict=True):
                rows.append(side)
    h_s, h_t = torch.cat(rows_s), torch.cat(rows_t)
    measures: dict[str, Any] = {
        "cka": diagnostics.linear_cka,
        "global": diagnostics.global_structure_correlation,
    }
    if len(problem.learn) == 1 and problem.task == "node":
        edges = problem.learn[0].edge_index
        measures["local"] = partial(diagnostics.local_structure_correlation, edge_index=edges)
    row = {}
    for name, measure in measures.items():
        draws = torch.Generator().manual_seed(0)
        found = diagnostics.permutation_test(
            measure, h_s, h_t, permutations=PERMUTATIONS, generator=draws
        )
        row |= {name: found.value, f"{name}_null": found.mean, f"{name}_null_sd": found.std}
    draws = torch.Generator().manual_seed(0)
    some = torch.randperm(h_s.size(0), generator=draws)[:MOST]
    row["overlap"] = diagnostics.neighbour_overlap(h_s[some], h_t[some], k=NEAREST)
    row["overlap_null"] = NEAREST / (some.numel() - 1)
    return {name: float(f"{x:.4g}") if math.isfinite(x) else None for name, x in row.items()}


# From lines ---------------------------------------------------------------------------------------


def calibrated(row: Mapping[str, float | None], name: str) -> float:
    """A measure as a part of what there is above chance: 0 is chance, 1 is equality."""
    value, null = row.get(name), row.get(f"{name}_null")
    if value is None or null is None:
        return math.nan
    return (value - null) / (1 - null)


def latest(lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The lines of each model and method at its last setting, and as others had chosen last."""
    made = [(*(json.dumps([line.get(name) for name in names]) for names in (JOB, HOW)), line)
            for line in lines]  # fmt: skip
    last = {job: how for job, how, _ in made}
    return [line for job, how, line in made if last[job] == how]


def columns(lines: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], Column]:
    """The calibrated measures and the accuracy by (teacher, student) and method, of a file's lines.

    Lines of runs that were not measured are left out.
    """
    found: dict[tuple[str, str], Column] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    tests = (one for one in lines if one.get("phase") == "test" and "similarity" in one)
    for line in latest(tests):
        at = f"@{line['level']}" if "level" in line else ""
        runs = found[line["teacher"], line["model"]][line["method"] + at]
        runs["accuracy"].append(line["test"])
        for name in MEASURES:
            runs[name].append(calibrated(line["similarity"], name))
    return {column: {name: dict(runs) for name, runs in by.items()} for column, by in found.items()}


class Correlation(NamedTuple):
    value: float
    low: float
    high: float
    units: int  # that were ranked


def rank_correlation(column: Column, measure: str) -> Correlation:
    """Spearman's correlation of a measure with accuracy, over the methods of a column.

    The unit is a method: its mean over seeds, since the seeds of a method are no students of
    different kinds. The interval holds 95 % of 2,000 bootstrap samples of methods.
    """
    points = _means(column, measure)
    drawn = np.random.default_rng(0).integers(points.shape[1], size=(2000, points.shape[1]))
    low, high = np.nanquantile(_spearman(*points[:, drawn]), (0.025, 0.975))
    return Correlation(float(_spearman(*points)), float(low), float(high), points.shape[1])


def spearman(column: Column, measure: str) -> float:
    """Spearman's correlation of a measure with accuracy, over the methods that have it.

    NaN if fewer than two have it.
    """
    points = _means(column, measure)
    return float(_spearman(*points)) if points.shape[1] > 1 else math.nan


def _means(column: Column, measure: str) -> np.ndarray:
    """A measure and the accuracy of the methods that have it."""
    means = np.array([[np.mean(runs[name]) for runs in column.values()]
                      for name in (measure, "accuracy")])  # fmt: skip
    return means[:, np.isfinite(means).all(axis=0)]


def _spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Along the last axis; NaN of a sample that holds one method only."""
    ranks = (rankdata(side, axis=-1) for side in (x, y))
    x, y = (side - side.mean(-1, keepdims=True) for side in ranks)
    with np.errstate(invalid="ignore"):
        return (x * y).sum(-1) / np.sqrt((x * x).sum(-1) * (y * y).sum(-1))


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean and its 95 % interval by Student's t, which a single value does not have."""
    n, mean = len(values), fmean(values)
    half = float(t.ppf(0.975, n - 1)) * stdev(values) / math.sqrt(n) if n > 1 else math.nan
    return mean, mean - half, mean + half


def figure(by_column: Mapping[str, Column], label: Callable[[str], str] = str) -> "Figure":
    """Local against global preservation, a panel for each column by its title.

    Args:
        by_column: The columns by their titles, all with the same methods, so that one legend serves
            them.
        label: Gives the name of a method for readers.
    """
    from matplotlib.figure import Figure

    across = min(len(by_column), ACROSS)
    down = math.ceil(len(by_column) / across)
    drawn = Figure(figsize=(11.3, 0.6 + down * (3 if across > 1 else 4.2)), layout="constrained")
    panels = [*drawn.subplots(down, across, squeeze=False).flat]
    for ax, (title, column) in zip(panels, by_column.items(), strict=False):
        local, whole = (
            {label(method): runs[name] for method, runs in column.items()}
            for name in ("local", "global")
        )
        diagnostics.plot_preservation(local, whole, ax=ax).set_title(title, size=10)
        legend = ax.get_legend_handles_labels()
        ax.get_legend().remove()
    for ax in panels[len(by_column) :]:
        ax.set_axis_off()
    drawn.legend(*legend, loc="outside right center", frameon=False)
    return drawn
