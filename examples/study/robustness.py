"""Robustness: how scores fall as features, edges or labels are corrupted, with curves.

In the test, the models of the cells, trained on clean data, meet a corrupted graph. In training,
teacher and student have only ever seen the corrupted graph: they learn, validate and are scored on
it ("test"), and on the clean one, too ("clean"). Settings are those of the clean data. All methods
meet the same corruption under a seed. corrupt.py says what a share of a corruption is.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import nn

from . import data, fit, work
from .similarity import interval, latest
from .work import Job, Known, Limits, Line, Settled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS = ["kd", "lsp", "glsp", "gcrd", "kd+gcrd"]
SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)
# Labels that are all wrong, or nearly, teach nothing.
LEVELS = {
    **dict.fromkeys(("noise", "mask", "remove", "add", "rewire"), SHARES),
    "labels": (0.2, 0.4, 0.6),
}
CLEAN = ("none", 0.0)
Corruption = tuple[str, float]


def corruptions(when: str, task: str = "multiclass") -> list[Corruption]:
    """Kinds and shares. Labels are of no use in the test; clean data stand beside it.

    Args:
        when: "test" or "train".
        task: The `kind` of data.Problem. Labels that are numbers cannot be wrong by a share.
    """
    without = "labels" if when == "test" or task == "regression" else None
    every = [
        (kind, share) for kind, shares in LEVELS.items() if kind != without for share in shares
    ]
    return every if when == "train" else [CLEAN, *every]


def count(job: Job, limits: Limits) -> int:
    return limits.seeds * sum(len(corruptions(when, limits.kind)) for when in ("test", "train"))


def remaining(job: Job, lines: list[Line], settled: Settled, limits: Limits) -> Iterator[Line]:
    """The lines that a job lacks, of a teacher or a student alone, or of a student by a method."""
    lines = settled.own(lines)
    done = {(line["when"], line["kind"], line["share"], line["seed"]) for line in lines}

    def missing(when: str, seed: int) -> list[Corruption]:
        every = corruptions(when, limits.kind)
        return [one for one in every if (when, *one, seed) not in done]

    for seed in range(limits.seeds):
        if todo := missing("test", seed):
            for one, facts in tested(job, todo, seed, settled, limits):
                yield line_of("test", one, seed, settled, facts)
        for one in missing("train", seed):
            start = time.perf_counter()
            facts = learned(job, one, seed, settled, limits)
            facts["seconds"] = round(time.perf_counter() - start, 2)
            yield line_of("train", one, seed, settled, facts)


def tested(
    job: Job, every: list[Corruption], seed: int, settled: Settled, limits: Limits
) -> Iterator[tuple[Corruption, Line]]:
    """The scores on corrupted data of what learned from clean data."""
    try:
        model, _ = trained(job, seed, settled, limits)
    except FloatingPointError as error:
        yield from ((one, work.failure(error)) for one in every)
        return
    for one in every:
        yield one, scored(model, job, one, seed, limits)


def learned(job: Job, corruption: Corruption, seed: int, settled: Settled, limits: Limits) -> Line:
    """The scores of what learned from corrupted data, there and on clean data."""
    try:
        model, validation = trained(at(job, corruption), seed, settled, limits)
    except FloatingPointError as error:
        return work.failure(error)
    there = scored(model, job, corruption, seed, limits)
    clean = scored(model, job, CLEAN, seed, limits)
    return there | {"clean": clean.get("test"), "validation": validation}


def scored(model: nn.Module, job: Job, corruption: Corruption, seed: int, limits: Limits) -> Line:
    """The scores on corrupted data, or why there are none."""
    try:
        found = fit.scores(model, problem(job, corruption, seed, limits))
    except FloatingPointError as error:
        return work.failure(error)
    return {part: work.digits(value) for part, value in found.items()}


def line_of(
    when: str, corruption: Corruption, seed: int, settled: Settled, facts: dict[str, Any]
) -> Line:
    kind, share = corruption
    given = {} if settled.known == Known() else {"given": work.identity(settled.known)}
    made = {"when": when, "kind": kind, "share": share, **given, "seed": seed}
    return made | {"options": settled.options} | facts


def at(job: Job, corruption: Corruption) -> Job:
    """The job on corrupted data."""
    kind, share = corruption
    name, _, changes = job.dataset.removesuffix("]").partition("[")
    every = ",".join(filter(None, [changes, f"{kind}={share}"]))
    return job if corruption == CLEAN else job._replace(dataset=f"{name}[{every}]")


def problem(job: Job, corruption: Corruption, seed: int, limits: Limits) -> data.Problem:
    return data.problem(at(job, corruption).dataset, limits.root, seed, job.setting)


def trained(
    job: Job, seed: int, settled: Settled, limits: Limits
) -> tuple[nn.Module, float | None]:
    """A model with its validation score; a teacher is the one that students learn from."""
    if job.is_teacher:
        by = job._replace(teacher=job.model, is_teacher=False)
        _, (model, _, _) = work.taught(by, seed, work.Known(teacher=settled.options), limits)
        return model, None
    model, _, found = work.train(job, settled.options, seed, settled.known, limits)
    return model, work.digits(found.validation)


# From lines ---------------------------------------------------------------------------------------


class Point(NamedTuple):
    """The mean score at a share, with its 95 % interval by Student's t over seeds."""

    share: float
    mean: float
    low: float
    high: float


Curves = dict[str, dict[str, list[Point]]]  # by kind and method; "none" is the student alone


def curves(
    lines: Iterable[Mapping[str, Any]], teacher: str, student: str, when: str, score: str = "test"
) -> Curves:
    """The curves of a column, from the lines of its file; each begins at clean data.

    Args:
        lines: As they stand in the file; headers are passed over.
        teacher: Its name; its own curve is called "teacher".
        student: Its name.
        when: "test" or "train".
        score: "test", or of models that were trained on corrupted data, "clean".
    """
    found: dict[tuple[str, str], dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in latest(line for line in lines if "when" in line):
        name = _name(line, teacher, student)
        value = line.get("test" if line["kind"] == CLEAN[0] else score)
        if name is None or value is None:  # a run that failed is on no curve
            continue
        if line["kind"] == CLEAN[0]:
            for kind, shares in LEVELS.items():
                if (kind, shares[0]) in corruptions(when):
                    found[kind, name][0.0].append(value)
        elif line["when"] == when:
            found[line["kind"], name][line["share"]].append(value)
    # A kind of which there are clean data only was not run, as that of labels on a regression.
    run = {kind for (kind, _), scores in found.items() if scores.keys() != {0.0}}
    result: Curves = {kind: {} for kind, _ in found if kind in run}
    for (kind, name), scores in found.items():
        if kind in run:
            result[kind][name] = [Point(x, *interval(scores[x])) for x in sorted(scores)]
    return result


def _name(line: Mapping[str, Any], teacher: str, student: str) -> str | None:
    """The curve that a line belongs to, if it is one of this column."""
    if line.get("is_teacher"):
        return "teacher" if line["model"] == teacher else None
    if line["model"] != student or line.get("teacher", teacher) != teacher:
        return None
    return line.get("method", "none")


def figure(found: Curves, metric: str, label: Callable[[str], str] = str) -> "Figure":
    """A panel for each kind of corruption, with a band of 95 % around each curve.

    Args:
        found: The curves.
        metric: The name of the score.
        label: Gives the name of a method for readers.
    """
    from matplotlib.figure import Figure

    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    drawn = Figure(figsize=(3 * columns + 1.5, 2.8 * rows), layout="constrained")
    panels = drawn.subplots(rows, columns, squeeze=False, sharey=True)
    for ax in panels.flat[len(found) :]:
        ax.remove()
    for ax, (kind, by_method) in zip(panels.flat, found.items(), strict=False):
        for name, points in by_method.items():
            style = {"color": "0.5", "linestyle": "--"} if name == "teacher" else {}
            x, mean, low, high = zip(*points, strict=True)
            (curve,) = ax.plot(x, mean, marker=".", label=label(name), **style)
            ax.fill_between(x, low, high, color=curve.get_color(), alpha=0.15, linewidth=0)
        ax.set(title=kind, xlabel="share")
    for ax in panels[:, 0]:
        ax.set_ylabel(f"test {metric}")
    drawn.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside right upper",
                 frameon=False)  # fmt: skip
    return drawn
