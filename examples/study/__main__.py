"""The study: which losses help which students, on which data.

    python -m examples.study --smoke                           # a cell of every task: a minute
    python -m examples.study --datasets Cora --root data       # every cell on Cora
    python -m examples.study --datasets Cora --students MLP --methods kd gcrd kd+gcrd
    python -m examples.study --datasets WikiCS LRGBDataset:Peptides-func   # any set of PyG's
    python -m examples.study --datasets "Photo[labelled=100]"   # so many of each class
    python -m examples.study --datasets ogbg-molhiv --teachers GINE --students GCN-60 --levels graph
    python -m examples.study --report                          # the tables of what has been run

Teachers, students alone and methods get as many trials each, whose validation scores choose their
settings. Then each runs with ten seeds, and test rows are scored. Every run is a line of JSON in a
file of its data set. What is there is not run again: call it again after an interruption. At the
end come the tables: for each teacher and student the methods' scores, and what they gain against no
distillation and against KD, with intervals.

These are the cells of the study. Other parts begin from the settings that they chose:
--part ablation     what makes G-CRD help, and whether balanced losses need weights
--part similarity   what students have in common with their teachers, measured in the test runs
--part robustness   corrupted features, edges and labels, in the test and in training
"""

import argparse
import os
import re
from itertools import product
from pathlib import Path

import torch

from . import Help, ablation, after, data, facts, fit, fits, methods, plan, report, schedule
from .methods import beside_kd
from .names import named
from .work import Job, Limits


def models_of(dataset: str, args: argparse.Namespace) -> tuple[data.Problem, list[str], list[str]]:
    """What is asked of models on a data set, and the teachers and students for it."""
    problem = data.problem(dataset, args.root, 0, args.setting)
    several = fit.has_area(problem) and not problem.many
    drawn = range(max(args.seeds, args.tuning_seeds) if several else 1)
    for seed in drawn:  # a seed chooses the rows of most parts
        of_seed = data.problem(dataset, args.root, seed, args.setting)
        if part := fit.part_without_area(of_seed):
            raise SystemExit(
                f"{dataset}: no label of part {part} has both values under seed {seed}, so no "
                "ROC-AUC."
            )
    own = problem.tasks
    teachers = [name for name in args.teachers if plan.TEACHERS[name].task in own]
    students = [name for name in args.students if plan.STUDENTS[name].task in own]
    for what, found, known in (
        ("teacher", teachers, plan.TEACHERS), ("student", students, plan.STUDENTS),
    ):  # fmt: skip
        if not found:
            fitting = [name for name, spec in known.items() if spec.task in own]
            raise SystemExit(f"{dataset} has no {what} but {', '.join(fitting)}.")
    return (problem, teachers[:1], students[:1]) if args.smoke else (problem, teachers, students)


def columns_of(args: argparse.Namespace) -> list[ablation.Cell]:
    """The columns of a part."""
    if args.part == "ablation" and not args.datasets:
        return ablation.CELLS
    columns = []
    for dataset in args.datasets or ["Digits"]:
        problem, teachers, students = models_of(dataset, args)
        pairs = product(teachers, students)
        columns += [ablation.Cell(dataset, *pair, problem.level) for pair in pairs]
    return columns


def jobs_of(dataset: str, setting: str, args: argparse.Namespace) -> list[Job]:
    """What is run on a data set, in an order in which a job's needs come before it."""
    problem, teachers, students = models_of(dataset, args)
    fits.check(args.methods or plan.METHODS, problem, dataset, args.max_samples)
    jobs = [Job(dataset, setting, teacher, is_teacher=True) for teacher in teachers]
    jobs += [Job(dataset, setting, student) for student in students]
    if not args.methods:
        jobs += [Job(dataset, setting, student, method=plan.NONE_TWICE) for student in students]
    for teacher in teachers:
        for student in students:
            planned = plan.methods_for(student, problem.many)
            wanted = args.methods or [x for x in planned if fits.lacking(x, problem) is None]
            needs_kd = any(map(beside_kd, wanted))
            ordered = dict.fromkeys([*(["kd"] if needs_kd else []), *wanted])
            jobs += [
                Job(dataset, setting, student, teacher, method, level)
                for method in ordered
                for level in plan.levels(method, problem.task, args.levels)
            ]
    return jobs


def whole(text: str) -> int:
    """A number of runs, epochs, rows or processes."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"it is a whole number of at least 1, not {text}")
    return int(text)


def a_method(text: str) -> str:
    for part in methods.parts(plan.loss_of(text)):
        if not re.fullmatch(r"\w+(\[\w+=[^],=[]+(,\w+=[^],=[]+)*\])?", part):
            raise argparse.ArgumentTypeError(f"{part} is not LOSS or LOSS[NAME=VALUE,...]")
        name, _ = named(part)
        if name not in methods.LOSSES:
            known = ", ".join(methods.LOSSES)
            raise argparse.ArgumentTypeError(f"{name} is no loss of methods.py: {known}")
    return text


def limits_of(dataset: str, args: argparse.Namespace) -> Limits:
    """The flags, and where they leave the length of a run open, that of the data set's task."""
    problem = data.problem(dataset, args.root, 0, args.setting)
    epochs, patience = plan.LENGTHS["graph" if problem.per_graph else "node"]
    return Limits(
        args.root, str(args.work), args.trials, args.tuning_seeds, args.seeds,
        args.epochs or epochs, args.patience or patience, args.max_samples, args.similarity,
        args.teacher_trials, problem.kind,
    )  # fmt: skip


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.study",
        description=__doc__,
        formatter_class=Help,
    )
    add = parser.add_argument
    add(
        "--smoke", action="store_true",
        help="two methods on a teacher and a student of every task, to see that all of it works",
    )  # fmt: skip
    add("--part", choices=["cells", *after.PARTS], default="cells", help="of the study")
    add(
        "--datasets", nargs="+", metavar="NAME",
        help="default: Digits; of the ablation, the columns that ablation.py names",
    )  # fmt: skip
    add(
        "--setting",
        choices=["transductive", "production"],
        default="transductive",
        help="what the teacher sees",
    )
    add("--teachers", nargs="+", choices=plan.TEACHERS, default=[*plan.TEACHERS], help="models")
    add("--students", nargs="+", choices=plan.STUDENTS, default=[*plan.STUDENTS], help="models")
    add(
        "--methods", nargs="+", metavar="METHOD", type=a_method,
        help=f"default: {', '.join(plan.METHODS)}; for an MLP also {', '.join(plan.FOR_MLP)}",
    )  # fmt: skip
    add(
        "--levels", nargs="+", choices=["node", "graph"], default=["node", "graph"],
        help="rows that are compared if graphs have labels: those of nodes, of graphs, or one of "
        "both after the other (the default); AT and LSP compare nodes only, KD neither",
    )  # fmt: skip
    add("--trials", type=whole, default=plan.TRIALS, help="of each method")
    add(
        "--teacher-trials",
        type=whole,
        metavar="TRIALS",
        help="of each teacher (default: as --trials)",
    )
    add("--tuning-seeds", type=whole, default=plan.TUNING_SEEDS, help="of a trial")
    add("--seeds", type=whole, default=plan.SEEDS, help="of a result")
    node, graph = plan.LENGTHS["node"], plan.LENGTHS["graph"]
    add(
        "--epochs",
        type=whole,
        help=f"at most (default: {node[0]}, for labels of graphs {graph[0]})",
    )
    add("--patience", type=whole, help=f"epochs without a gain (default: {node[1]}, {graph[1]})")
    add(
        "--max-samples", type=whole, default=1024,
        help="rows that a loss over all pairs draws in a step",
    )  # fmt: skip
    add(
        "--similarity", action="store_true",
        help="measure what students have in common with their teachers as soon as they are tested",
    )  # fmt: skip
    add(
        "--jobs",
        type=whole,
        default=os.cpu_count(),
        help="processes of one thread, as many as cores",
    )
    add("--root", default="data", help="the folder of all data sets; each has its own in it")
    add("--out", type=Path, default=Path("study"), help="folder of the results")
    add(
        "--work", type=Path, default=Path("runs/study"),
        help="folder of the teachers' outputs",
    )  # fmt: skip
    add(
        "--report", action="store_true",
        help="run nothing: print the tables of what lies in --out, or of --datasets alone",
    )  # fmt: skip
    args = parser.parse_args()
    if args.smoke:
        args.datasets, args.methods, args.out = list(plan.SMOKE), ["kd", "gcrd"], args.out / "smoke"
        args.trials, args.tuning_seeds, args.seeds, args.epochs = 1, 1, 1, 1
    return args


def main() -> None:
    args = parse()
    if args.report:
        report.show(args.out, args.datasets)
        return
    torch.set_num_threads(1)
    for folder in (args.out, args.work):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SystemExit(f"{folder} cannot be made: {error}.") from None
    try:
        _run(args)
    except KeyboardInterrupt:
        raise SystemExit("Stopped. The same command goes on from here.") from None


def _run(args: argparse.Namespace) -> None:
    if args.part != "cells":
        after.run(args, columns_of(args), limits_of)
        return
    names = [*dict.fromkeys(args.datasets or ["Digits"])]
    results = [
        schedule.Results(args.out, name, args.setting, limits_of(name, args)) for name in names
    ]
    jobs = [job for name in names for job in jobs_of(name, args.setting, args)]
    schedule.run(jobs, results, args.jobs)
    for one in results:
        facts.write(one, one.limits)
    report.show(args.out, names)


if __name__ == "__main__":
    main()
