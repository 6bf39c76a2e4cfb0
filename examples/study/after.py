"""What follows the cells of the study, from the settings that they chose: the other parts.

A part reads the cells' files, and has files of its own in a folder of its name. It is stopped and
resumed as the cells are, and may run while they do, as soon as what it needs has been chosen.
"""

import argparse
from collections.abc import Callable, Iterator

from . import ablation, data, fits, plan, robustness, schedule, work
from .ablation import Cell
from .data import Problem
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
        SystemExit: If a data set or a method does not fit, or if the cells lack a setting that it
            needs; it says what to run first.
    """
    names = dict.fromkeys(column.dataset for column in columns)
    for name in names:
        check(name, args)
    folder, limits = args.out / args.part, {name: limits_of(name, args) for name in names}
    cells = {name: Results(args.out, name, args.setting, limits[name]) for name in names}
    needs = {
        job: needed(job, cells[name], args.part)
        for name in names
        for job in jobs_of([one for one in columns if one.dataset == name], args, cells[name])
    }
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


def check(dataset: str, args: argparse.Namespace) -> None:
    """Raise SystemExit if the part, or a method that is named, does not fit the data set."""
    problem = data.problem(dataset, args.root, 0, args.setting)
    if args.part == "robustness" and (problem.many or problem.task != "node"):
        raise SystemExit(f"{dataset} is not one graph of one node type: it cannot be corrupted.")
    fits.check(args.methods or [], problem, dataset, args.max_samples)


def jobs_of(columns: list[Cell], args: argparse.Namespace, cells: Results) -> list[Job]:
    """A part's jobs on a data set."""
    problem = data.problem(cells.dataset, args.root, 0, args.setting)
    return [job for column in columns for job in in_column(column, args, cells, problem)]


def in_column(
    column: Cell, args: argparse.Namespace, cells: Results, problem: Problem
) -> list[Job]:
    """A part's jobs in a column; of the ablation's variants, those that fit the data set."""
    dataset, teacher, student, level = column
    by = Job(dataset, args.setting, student, teacher, level=level)
    alone = by._replace(teacher=None, level="node")
    jobs = []
    match args.part:
        case "ablation":
            every = [name for task in ("node", "graph") for name in ablation.names(task)]
            methods = [name for name in every if fits.lacking(name, problem) is None]
        case "similarity":
            jobs = [by._replace(method="none", level="node")]
            methods = unmeasured(by, cells)
        case "robustness":
            jobs = [alone._replace(model=teacher, is_teacher=True), alone]
            methods = robustness.METHODS
    for name in dict.fromkeys(args.methods or methods):
        # What does not compare rows of graphs has been tuned for rows of nodes.
        levels = plan.levels(name, problem.task, [level]) or ["node"]
        if args.part == "similarity":  # each that was run, whatever rows it compares
            each = (by._replace(method=name, level=one) for one in ("node", "graph"))
            levels = [job.level for job in each if job in cells.lines] or levels
        jobs += [by._replace(method=name, level=one) for one in levels]
    return jobs


def unmeasured(by: Job, cells: Results) -> list[str]:
    """The methods of a column with test runs of which it was not measured what they preserve."""
    return [
        job.method
        for job, lines in cells.lines.items()
        if job.method is not None
        and (job.teacher, job.model) == (by.teacher, by.model)
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
    done = {line["seed"] for line in settled.own(lines)}
    limits = limits._replace(similarity=True)
    for seed in set(range(limits.seeds)) - done:
        line = {
            "phase": "test",
            "given": work.identity(known),
            "options": settled.options,
            "seed": seed,
        }
        yield line | work.one_run(job, settled.options, seed, known, limits, test=True)
