"""Statistics of the study: what lines say, and differences with intervals.

A *column* is a data set in a setting, a teacher and a student; a *cell* is a method in it, or a
model alone. Everything here is a function of the lines of a file, and reads them only.

- A difference is paired: both methods at the same seed, so with the same rows to learn from, the
  same teacher and the same initial student. Its interval is Student's t over the seeds. It covers
  what a seed draws: initial weights, dropout, the teacher, and where the data set has no split of
  its own, the rows to learn from and to validate on. It does not cover other test rows or another
  choice of settings.
- Its p is that of Wilcoxon's signed-rank test, two-sided and exact, times Holm's factor: for KD,
  G-CRD and their sum among themselves, for another method among all of the column. From n seeds it
  cannot be below 2 / 2^n before the correction.
- A run that failed counts as worse than any score, as in the search. Means and differences are
  over the seeds that did not fail, and its cell says so. ranks.py has the ranks over data sets.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from . import plan, schedule, search, work
from .methods import BALANCED, LABELS
from .names import named
from .schedule import Lines
from .work import Job, Known, Limits, Line

NONE = "none"  # the student alone, as a method
TWICE = {plan.NONE_TWICE: "No distillation, twice tuned", plan.TWICE: "KD, twice tuned"}
NAMED = TWICE | {plan.PAPER_GCRD: "G-CRD, paper's τ"}
ANY = Limits("", "", trials=0)  # a choice is the best of the trials that there are
COMPARED = (NONE, "kd", "gcrd")  # what the columns have that are counted and ranked
FIRST = ("kd", "gcrd", "kd+gcrd")  # what the study asks about first


class Cell(NamedTuple):
    """The runs of a method or of a model alone at the setting that its trials chose."""

    options: dict[str, Any]
    scores: dict[int, float]  # of the test rows, by seed
    seen: dict[int, float]  # in the production setting: of the test rows seen in training
    failed: int  # runs of these that failed
    trials: int
    failed_trials: int  # runs of trials that failed
    edges: list[str]  # options whose best value has no tried one beyond it, though there are some
    single: list[str]  # those of which one value was tried
    seconds: float  # of an epoch, the median over the runs
    tried: list[tuple[dict[str, Any], float]]  # the trials' options and mean validation scores
    known: Known  # what others had chosen

    @property
    def runs(self) -> int:
        return len(self.scores) + self.failed

    @property
    def mean(self) -> float:
        return fmean(self.scores.values()) if self.scores else math.nan

    @property
    def sd(self) -> float:
        return stdev(self.scores.values()) if len(self.scores) > 1 else math.nan


class Column(NamedTuple):
    dataset: str
    setting: str
    teacher: str
    student: str
    teaching: Cell | None  # the teacher alone, if its runs are there
    cells: dict[str, Cell]  # by method, the complete ones
    unfinished: dict[str, int]  # methods that lack seeds, and how many seeds they have

    @property
    def gap(self) -> float:
        """The teacher's mean score minus that of the student alone."""
        if self.teaching is None or NONE not in self.cells:
            return math.nan
        return self.teaching.mean - self.cells[NONE].mean

    @property
    def close(self) -> bool:
        """Whether the teacher is less than two points ahead, of scores in per cent."""
        return self.gap < 2 and self.teaching.mean >= 10

    @property
    def name(self) -> str:
        return f"{self.teacher} → {self.student}"


class Found(NamedTuple):
    """What the file of a data set in a setting holds."""

    header: Line
    facts: Line  # what facts.py wrote of the data and the models, if it did
    teachers: dict[str, Cell]
    students: dict[str, Cell]
    columns: list[Column]
    seeds: int  # of a complete cell
    tuning_seeds: int  # of a trial
    runs: int  # all lines
    superseded: int  # test runs at settings that are not those of the cells

    @property
    def title(self) -> str:
        """Its name for readers: "BBBP" of "MoleculeNet:BBBP"."""
        name, setting = self.header["dataset"].rpartition(":")[2], self.header["setting"]
        return name + ("" if setting == "transductive" else f", {setting}")


def label(method: str) -> str:
    """A method's name for readers: "KD + G-CRD" of "kd+gcrd"."""
    if method in NAMED:
        return NAMED[method]
    if method.startswith(BALANCED):
        return f"{label(method.removeprefix(BALANCED))}, balanced"
    method, _, level = method.partition("@")
    parts = []
    for part in method.split("+"):
        name, arguments = named(part)
        options = "".join(f", {key} {value}" for key, value in arguments.items())
        parts.append(LABELS.get(name, name) + options)
    return " + ".join(parts) + (f", {level}s" if level else "")


# What the lines hold ------------------------------------------------------------------------------


def read(folder: Path) -> list[Found]:
    """What the files of a folder hold, those without a tested run left out."""
    found = []
    for path in folder.glob("*.jsonl"):
        header, lines = schedule.cells(path)
        facts = path.with_suffix(".json")
        one = summary(header, lines, json.loads(facts.read_text()) if facts.exists() else {})
        found += [one] if one.seeds else []
    # A data set's transductive setting comes first.
    return sorted(found, key=lambda one: (one.header["dataset"], one.title))


def summary(header: Line, lines: Lines, facts: Line) -> Found:
    kind = header.get("kind", "multiclass")
    cells = {job: made for job in lines if (made := cell(job, lines, kind)) is not None}
    seeds = max((one.runs for one in cells.values()), default=0)
    whole = {
        job: one for job, one in cells.items() if one.runs == seeds and _same_models(job, cells)
    }
    alone = {job: one for job, one in whole.items() if job.method is None}
    pairs = {(job.teacher, job.model) for job in lines if job.teacher is not None}
    teachers, students = (list(models) for models in (plan.TEACHERS, plan.STUDENTS))
    order = sorted(pairs, key=lambda pair: (teachers.index(pair[0]), students.index(pair[1])))
    return Found(
        header,
        facts,
        {job.model: one for job, one in alone.items() if job.is_teacher},
        {job.model: one for job, one in alone.items() if not job.is_teacher},
        [_column(*pair, lines, cells, whole) for pair in order],
        seeds,
        max((_tuning_seeds(runs) for runs in lines.values()), default=0),
        sum(map(len, lines.values())),
        sum(line["phase"] == "test" for runs in lines.values() for line in runs)
        - sum(one.runs for one in cells.values()),
    )


def cell(job: Job, lines: Lines, kind: str = "multiclass") -> Cell | None:
    """The runs at the best setting of those tried, or None if no trial is complete."""
    any_number = ANY._replace(tuning_seeds=_tuning_seeds(lines[job]), kind=kind)
    known = schedule.known(job, lines, any_number)
    if known is None:
        return None
    axes, mine = work.axes(job, known), work.current(lines[job], known)
    tried = work.tried(mine, axes, Limits("", "", tuning_seeds=_tuning_seeds(mine)))
    if not tried:
        return None
    best = search.best(tried)
    runs = {
        line["seed"]: line
        for line in mine
        if line["phase"] == "test" and search.point(axes, line["options"]) == best
    }
    good = [line for line in runs.values() if _is_number(line.get("test"))]
    edges = search.at_edge(axes, tried)
    varied = {name for name, *places in zip(axes, *tried, strict=True) if len({*places}) > 1}
    timed = [line["seconds"] / line["epochs"] for line in good if line.get("epochs")]
    return Cell(
        search.options(axes, best),
        {line["seed"]: line["test"] for line in good},
        {line["seed"]: line["test_seen"] for line in good if "test_seen" in line},
        len(runs) - len(good),
        len(tried),
        sum(line["phase"] == "trial" and line["validation"] is None for line in mine),
        [name for name in edges if name in varied],
        [name for name in edges if name not in varied],
        median(timed) if timed else math.nan,
        [(search.options(axes, point), score) for point, score in tried.items()],
        known,
    )


def _same_models(job: Job, cells: dict[Job, Cell]) -> bool:
    """Whether a method's student and teacher are those alone, which other trials may change."""
    if job.teacher is None:
        return True
    alone = cells.get(Job(job.dataset, job.setting, job.model))
    teaching = cells.get(Job(job.dataset, job.setting, job.teacher, is_teacher=True))
    known = cells[job].known
    return (alone is None or alone.options == known.student) and (
        teaching is None or teaching.options == known.teacher
    )


def _is_number(score: float | None) -> bool:
    return score is not None and math.isfinite(score)


def _tuning_seeds(runs: list[Line]) -> int:
    return 1 + max((line["seed"] for line in runs if line["phase"] == "trial"), default=-1)


def _column(
    teacher: str, student: str, lines: Lines, cells: dict[Job, Cell], whole: dict[Job, Cell]
) -> Column:
    jobs = {
        job.method if job.level == "node" else f"{job.method}@{job.level}": job
        for job in lines
        if job.teacher == teacher and job.model == student and job.method is not None
    }
    planned = plan.methods_for(student)
    order = sorted(jobs, key=lambda name: planned.index(name) if name in planned else len(planned))
    first = next(iter(jobs.values()))
    jobs = {NONE: Job(*first[:3])} | {name: jobs[name] for name in order}
    if (twice := Job(*first[:3], method=plan.NONE_TWICE)) in lines:
        jobs[plan.NONE_TWICE] = twice
    teaching = Job(*first[:2], teacher, is_teacher=True)
    return Column(
        *first[:2],
        teacher,
        student,
        whole.get(teaching),
        {name: whole[job] for name, job in jobs.items() if job in whole},
        {
            name: cells[job].runs if job in cells and _same_models(job, cells) else 0
            for name, job in jobs.items()
            if job not in whole
        },
    )


# Differences --------------------------------------------------------------------------------------


class Difference(NamedTuple):
    """A method minus another, over the seeds that both have."""

    n: int
    mean: float
    low: float  # of the 95 % interval; nan for a single seed
    high: float
    p: float  # with Holm's correction, if it is one of several


def difference(scores: dict[int, float], other: dict[int, float]) -> Difference:
    """The paired difference, with the p of this pair alone."""
    pairs = np.array([scores[seed] - other[seed] for seed in sorted(scores.keys() & other.keys())])
    n, mean = len(pairs), pairs.mean()
    half = stats.t.ppf(0.975, n - 1) * pairs.std(ddof=1) / math.sqrt(n) if n > 1 else math.nan
    p = wilcoxon(_told_apart(pairs, max(map(abs, [*scores.values(), *other.values()]), default=0)))
    return Difference(n, float(mean), float(mean - half), float(mean + half), p)


def _told_apart(pairs: np.ndarray, largest: float) -> np.ndarray:
    """Differences of which those share a rank that are equal but for rounding.

    A test row more is as many per cent at any score; lines hold four digits of it. Other scores
    count as they stand in the lines.
    """
    if largest >= 10:
        return np.round(pairs, 3)
    return np.round(pairs / (np.abs(pairs).max(initial=0) or 1), 9)


def wilcoxon(pairs: np.ndarray) -> float:
    """Two-sided p of the signed-rank test, exact also with ties; pairs without a difference go.

    scipy's is exact with ties, too, but enumerates signs: half a second for ten seeds.
    """
    ranks = stats.rankdata(np.abs(pairs[pairs != 0])) * 2  # whole numbers, also with ties
    chances = np.ones(1)  # of each sum of the ranks with a plus
    for rank in ranks.astype(int):
        chances = (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0))) / 2
    away = np.abs(np.arange(len(chances)) - ranks.sum() / 2)
    found = abs(ranks[pairs[pairs != 0] > 0].sum() - ranks.sum() / 2)
    return float(chances[away >= found].sum())


def holm(ps: Sequence[float]) -> list[float]:
    """P-values with Holm's correction, in the order given."""
    order = np.argsort(ps)
    factors = np.arange(len(ps), 0, -1)
    corrected = np.minimum(np.maximum.accumulate(factors * np.asarray(ps)[order]), 1)
    return corrected[np.argsort(order)].tolist()


def differences(cells: dict[str, Cell], base: str) -> dict[str, Difference]:
    """Every method of a column minus one of them; each p is corrected by Holm.

    The methods of FIRST are a family of their own, so that what is said of them does not depend on
    what else a column has; any other method is corrected for all of them. "No distillation" is
    compared only if it is the base.
    """
    if base not in cells:
        return {}
    of = cells[base].scores
    found = {
        name: difference(one.scores, of)
        for name, one in cells.items()
        if name not in (base, NONE) and one.scores.keys() & of.keys()
    }
    first = {name: one for name, one in found.items() if name in FIRST}
    return _corrected(found) | _corrected(first)


def _corrected(found: dict[str, Difference]) -> dict[str, Difference]:
    ps = holm([one.p for one in found.values()])
    return {name: one._replace(p=p) for (name, one), p in zip(found.items(), ps, strict=True)}


def smallest(cells: dict[str, Cell]) -> dict[int, float]:
    """The smallest p against KD that the seeds allow, by the number of methods in a family."""
    n = max((len(one.scores) for one in cells.values()), default=0)
    methods = cells.keys() - {NONE, "kd"}
    families = [methods & {*FIRST}, methods if methods - {*FIRST} else set()]
    return {len(one): smallest_p(n, len(one)) for one in families if one}


def smallest_p(n: int, methods: int) -> float:
    """The smallest p that so many seeds and methods allow, after the correction."""
    return min(1.0, methods * 2 / 2**n)
