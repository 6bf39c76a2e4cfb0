"""Ranks of methods over data sets, with Friedman's test and Nemenyi's critical difference.

A sample is a data set, since it is over data sets that a user wants to generalise. Seeds are no
samples, and columns of one data set are alike: they share rows, and often the teacher. In each
column methods are ranked by their means; a method with a run that failed is last. Ranks are
averaged over the columns of a sample, and ranked. With `by_student`, every student of a data set
counts as a sample of its own: more power, and a p that is too small as far as the students of a
data set agree.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from . import plan
from .statistics import COMPARED, NONE, TWICE, Column

FEWEST_SAMPLES = 4  # with three, the critical difference of four methods is nearly all there is
# Of all methods but those that are there for comparison, the ones that every column has are ranked.
RANKED = [NONE, *(name for name in plan.METHODS if name not in (plan.PAPER_GCRD, *TWICE))]


class Ranking(NamedTuple):
    """Ranks of methods over samples; 1 is best."""

    average: dict[str, float]
    samples: list[str]
    p: float  # of Friedman's test
    critical: float  # the difference of average ranks that Nemenyi's test takes for one, at 5 %


def ranked(columns: list[Column]) -> tuple[list[Column], list[str]]:
    """The columns that can be ranked, and the methods that all of them have."""
    columns = [one for one in columns if {*COMPARED} <= one.cells.keys()]
    return columns, [name for name in RANKED if all(name in one.cells for one in columns)]


def ranking(columns: list[Column], *, by_student: bool = False) -> Ranking | None:
    """Ranks of the methods that all columns have; None for fewer samples than can tell anything."""
    columns, methods = ranked(columns)
    samples: dict[str, list[np.ndarray]] = {}
    for column in columns:
        sample = f"{column.dataset}, {column.student}" if by_student else column.dataset
        samples.setdefault(sample, []).append(_ranks(column, methods))
    if len(samples) < FEWEST_SAMPLES:
        return None
    ranks = np.array([stats.rankdata(np.mean(rows, axis=0)) for rows in samples.values()])
    n, k = ranks.shape
    different = np.ptp(ranks, axis=1).any()
    p = float(stats.friedmanchisquare(*ranks.T).pvalue) if different else 1.0
    q = stats.studentized_range.ppf(0.95, k, np.inf) / math.sqrt(2)
    average = dict(zip(methods, ranks.mean(axis=0).tolist(), strict=True))
    return Ranking(average, [*samples], p, float(q * math.sqrt(k * (k + 1) / (6 * n))))


def _ranks(column: Column, methods: list[str]) -> np.ndarray:
    cells = [column.cells[method] for method in methods]
    return stats.rankdata([math.inf if one.failed else -round(one.mean, 4) for one in cells])


def alike(ranking: Ranking) -> list[tuple[str, str]]:
    """The first and last method of each longest run of methods that do not differ."""
    rank = ranking.average
    order = sorted(rank, key=lambda method: rank[method])
    groups, reached = [], -1
    for i, first in enumerate(order):
        within = [j for j, m in enumerate(order) if rank[m] - rank[first] <= ranking.critical]
        if within[-1] > max(i, reached):
            groups.append((first, order[within[-1]]))
            reached = within[-1]
    return groups
