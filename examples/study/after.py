"""What follows the cells of the study, from the settings that they chose: the other parts.

A part reads the cells' files, and has files of its own in a folder of its name. It is stopped and
resumed as the cells are, and may run while they do, as soon as what it needs has been chosen.
"""

import argparse
from collections.abc import Callable, Iterator

from . import ablation, robustness, schedule, work
from .ablation import Cell
from .schedule import Results
from .work import Job, Known, Limits, Line, Settled

PARTS = ("ablation", "similarity", "robustness")


def run(
    args: argparse.Namespace,
    columns: list[Cell],
    limits_of: Callable[[str, argparse.Namespace], Limits],
) -> None:
    """Run the part `args.part` on the columns.

    Raises:
        SystemExit: If the cells lack a setting that it needs; it says what to run first.
    """
    names = dict.fromkeys(column.dataset for column in columns)
    folder, limits = args.out / args.part, {name: limits_of(name, args) for name in names}
    cells = {name: Results(args.out, name, args.setting, limits[name]) for name in names}
    jobs = [job for column in columns for job in jobs_of(column, args, cells[column.dataset])]
    needs = {job: needed(job, cells[job.dataset], args.part) for job in jobs}
    if lacking := [job for job, found in needs.items() if found is None]:
        raise SystemExit(first_run(lacking, args.part))
    folder.mkdir(exist_ok=True)
    remaining, count = {
        "ablation": (work.remaining, work.count),
        "similarity": (measured, runs_of_a_result),
        "robustness": (robustness.remaining, robustness.count),
    }[args.part]
    own = [Results(folder, name, args.setting, limits[name]) for name in names]
    schedule.run([*needs], own, args.jobs, remaining, count, lambda job: needs[job])


def jobs_of(column: Cell, args: argparse.Namespace, cells: Results) -> list[Job]:
    """A part's jobs in a column."""
    dataset, teacher, student, level = column
    by = Job(dataset, args.setting, student, teacher, level=level)
    alone = by._replace(teacher=None, level="node")
    jobs = []
    match args.part:
        case "ablation":
            groups = ablation.variants("node" if level == "node" else "graph").values()
            methods = [name for group in groups for name in group]
        case "similarity":
            methods = ["none", *(args.methods or unmeasured(by, cells))]
            return [by._replace(method=name) for name in methods]
        case "robustness":
            jobs = [alone._replace(model=teacher, is_teacher=True), alone]
            methods = robustness.METHODS
    return jobs + [by._replace(method=name) for name in args.methods or methods]


def unmeasured(by: Job, cells: Results) -> list[str]:
    """The methods of a column with test runs of which it was not measured what they preserve."""
    return [
        job.method
        for job, lines in cells.lines.items()
        if job.method is not None
        and job._replace(method=None) == by
        and job.teacher is not None
        and any(line["phase"] == "test" and "similarity" not in line for line in lines)
    ]


def needed(job: Job, cells: Results, part: str) -> Settled | Known | None:
    """What a job needs of the cells, or None if they lack it."""
    known = schedule.known(job, cells.lines, cells.limits)
    if part == "ablation" or known is None:
        return known
    if job.method == "none":  # the student alone, beside a teacher
        return Settled(known, known.student)
    options = work.chosen(job, cells.lines[job], known, cells.limits)
    return options and Settled(known, options)


def first_run(jobs: list[Job], part: str) -> str:
    """The command whose results are lacking."""
    named = {job.method: None for job in jobs if job.method not in (None, "none")}
    methods = [] if part == "ablation" else [*named]
    flags = {
        "datasets": [job.dataset for job in jobs],
        "teachers": [job.teacher for job in jobs if job.teacher],
        "students": [job.model for job in jobs if not job.is_teacher],
        "methods": ["kd", *methods],
    }
    words = [f"--{flag} {' '.join(dict.fromkeys(names))}" for flag, names in flags.items() if names]
    return (
        f"Settings are lacking. First run python -m examples.study {' '.join(words)}, with the "
        "same --setting, --trials, --tuning-seeds and --out."
    )


def runs_of_a_result(job: Job, limits: Limits) -> int:
    return limits.seeds


def measured(job: Job, lines: list[Line], settled: Settled, limits: Limits) -> Iterator[Line]:
    """The test runs of a cell once more, with what student and teacher have in common."""
    known = settled.known
    done = {line["seed"] for line in work.current(lines, known)}
    limits = limits._replace(similarity=True)
    for seed in set(range(limits.seeds)) - done:
        line = {
            "phase": "test",
            "given": work.identity(known),
            "options": settled.options,
            "seed": seed,
        }
        yield line | work.one_run(job, settled.options, seed, known, limits, test=True)
