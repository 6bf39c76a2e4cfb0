"""Distil a graph attention network into a small student, with every loss of graphkd.

    python examples/quickstart.py                   # 3 seeds, MLP student: a minute or two
    python examples/quickstart.py --losses all      # every loss alone: five to ten minutes
    python examples/quickstart.py --full            # 10 seeds, both students, the paper's methods
    python examples/quickstart.py --full --tune     # choose the settings of each loss anew first
    python examples/quickstart.py --dataset Cora --root data  # any set of PyG's for nodes
    python examples/quickstart.py --dataset Cora --settings kd=10@2 gcrd=1@0.5 --losses gcrd

The default data are the 1,797 handwritten digits that ship inside scikit-learn. The images are
real. The graph is built: each image is joined to the 8 images with the nearest pixels. Five labels
per class are known. The teacher is a three-layer GAT. The students are an MLP, which never sees the
graph, and a GCN with one hidden layer of eight units. They learn from the same 50 labels, and from
the teacher on all 1,797 nodes (the transductive setting).

The labels of training nodes serve the cross-entropy of teacher and students. Validation nodes
choose the best epoch of each model. With --tune they also choose the weight of each loss, and the
temperature of KD and G-CRD: the best of twelve settings for every method, on average over the first
three seeds. The constants in _settings.py were chosen so for the digits. A method without a
constant is tuned first; for any other dataset, every method is, but those of --settings. Test nodes
are scored at the end.
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import _common
import _report
import numpy as np
import study
import torch
import torch.nn.functional as F
from _nodes import HIDDEN, build, cost, forward, predict, score
from _settings import EVERY, METHODS, PAPER, QUICK, SETTINGS, TRIALS, trials
from rich.console import Console
from rich.progress import Progress
from study.data import problem
from study.methods import Case, Teacher, objective, sides
from torch import nn
from torch_geometric.data import Data

import graphkd

# Each loss is one line `graphkd.SomeLoss(...)` in study/methods.py. Settings are in _settings.py,
# data and models in _nodes.py.

# 1. Training --------------------------------------------------------------------------------------


def fit(
    name: str,
    model: nn.Module,
    layer: str,
    data: Data,
    args: argparse.Namespace,
    method: str = "none",
    distill: nn.Module | None = None,
    case: Case | None = None,
    given: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[float, float]:
    """Train to the epoch that is best on the validation nodes; its validation and test scores."""
    # Some losses project, and their heads learn: the optimiser takes these parameters too.
    parameters = [*model.parameters(), *(distill.parameters() if distill is not None else [])]
    optimizer = torch.optim.Adam(parameters, lr=0.01, weight_decay=5e-4)
    if distill is not None:
        distill = _common.watched(args, distill, student=model, optimizer=optimizer)
    held_out = data.y.where(data.val_mask, -1)
    tap = graphkd.Tap(model, layer)
    if case is not None:
        _common.compiled(args, model)

    def step() -> None:
        model.train()
        with _common.autocast(args):
            z = forward(model, data)
        # The labels teach on the training nodes only ...
        loss = F.cross_entropy(z[data.train_mask].float(), data.y[data.train_mask])
        if distill is not None and case is not None:
            # ... the teacher teaches on all nodes. Each loss takes the arguments that it needs.
            h_s, h_t = sides(method, tap.value, z, case)
            arguments = {"h_s": h_s, "h_t": h_t, "z_s": z, "z_t": case.teacher.z, "y": held_out}
            for name, value in given.items():
                arguments[name] = value() if callable(value) else value
            # Labels and the task's loss are for the doctor.
            extra, _ = distill(**arguments, edge_index=data.edge_index, task_loss=loss)
            loss = loss + extra
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def evaluate() -> float:
        return score(predict(model, data), data, data.val_mask)

    others = {"optimizer": optimizer} | ({} if distill is None else {"distill": distill})
    best = _common.fit(name, args, model, step, evaluate, notes=False, **others)
    tap.close()
    return best, score(predict(model, data), data, data.test_mask)


def train_teacher(
    name: str, seed: int, data: Data, args: argparse.Namespace
) -> tuple[Teacher, float]:
    torch.manual_seed(seed)
    model, layer = build(name, data), HIDDEN[name][0]
    _, test = fit(f"{name}-{seed}", model, layer, data, args)
    graphkd.freeze(model)  # in evaluation mode and without gradients from now on
    with graphkd.Tap(model, layer) as tap:
        z = predict(model, data)
    return Teacher(model, tap.value, z), test


class Run(NamedTuple):
    """The data and teachers that all methods of one seed share."""

    seed: int
    data: Data
    teacher: Teacher
    second: Teacher | None  # if a method takes two


def distil(
    run: Run, student: str, method: str, settings: _common.Settings, args: argparse.Namespace
) -> tuple[float, float]:
    torch.manual_seed(run.seed)  # every method starts from the same student ...
    model = build(student, run.data)
    layer, width = HIDDEN[student]
    case = Case(width, HIDDEN["GAT"][1], run.data, run.teacher, run.second)
    distill, given = objective(method, settings, case)
    if distill is not None:
        distill.to(run.data.x.device)
    torch.manual_seed(run.seed)  # ... and drops the same units, whatever heads its loss drew
    own = [settings[key] for key in dict.fromkeys(["kd", method]) if key in settings]
    used = "-".join(str(number) for setting in own for number in setting if number is not None)
    name = f"{student}-{method}-{used}-{run.seed}"
    return fit(name, model, layer, run.data, args, method, distill, case, given)


def unknown(methods: list[str], settings: _common.Settings) -> list[str]:
    """The methods that have no settings yet, and need some."""
    return [method for method in methods if method != "none" and method not in settings]


def tune(
    runs: list[Run],
    student: str,
    settings: _common.Settings,
    args: argparse.Namespace,
    advance: Callable[[str], None],
    note: Callable[[str], None],
) -> _common.Settings:
    """Add the settings that are best on the validation nodes, on average over the runs."""
    settings = dict(settings)
    for method in unknown(args.losses, settings):  # KD comes before the sums that contain it
        vals = {}
        for setting in trials(method):
            scores = []
            for run in runs:
                trial = {**settings, method: setting}
                scores.append(distil(run, student, method, trial, args)[0])
                advance(f"{student}, settings of {method}")
            vals[setting] = round(float(np.mean(scores)), 3)
        best = max(vals, key=lambda setting: vals[setting])  # the first of equals
        note(f"{student}: {method}={best} is the best of {len(vals)}, {vals[best]} on validation")
        settings[method] = best
    return settings


# 2. All together ----------------------------------------------------------------------------------


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=study.Help)
    _common.add_flags(parser, epochs=150)
    parser.add_argument(
        "--full", action="store_true", help="10 seeds, both students, the paper's methods"
    )
    parser.add_argument("--tune", action="store_true", help="always on for other datasets")
    parser.add_argument("--dataset", default="Digits", help="by a name as study/files.py has it")
    parser.add_argument("--seeds", type=int, help="default: 3, or 10 with --full")
    parser.add_argument(
        "--students", nargs="+", choices=["MLP", "GCN"], help="default: MLP, or both with --full"
    )
    parser.add_argument(
        "--losses", nargs="+", choices=[*METHODS, "all"], metavar="NAME",
        help=f"beside none and kd; `all`: each alone. One or more of {', '.join(METHODS)}",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=1, help="small graphs gain little from more")
    parser.add_argument("--out", type=Path, default=Path("quickstart.json"), help="numbers")
    parser.add_argument("--figure", type=Path, default=Path("quickstart.png"), help="a picture")
    args = parser.parse_args()
    args.settings = dict(args.settings)
    if others := args.settings.keys() - {*METHODS}:
        parser.error(f"--settings: no method is called {', '.join(sorted(others))}")
    args.seeds = args.seeds or (10 if args.full else 3)
    args.students = args.students or (["MLP", "GCN"] if args.full else ["MLP"])
    chosen = {"none", "kd", *(args.losses or (PAPER if args.full else QUICK))}
    chosen |= {*EVERY} if "all" in chosen else set()
    args.losses = [method for method in METHODS if method in chosen]
    args.tune |= args.dataset != "Digits"
    return args


def main() -> None:
    args, console, start = parse(), Console(highlight=False), time.perf_counter()
    torch.set_num_threads(args.threads)

    def note(text: str) -> None:
        minutes, seconds = divmod(round(time.perf_counter() - start), 60)
        console.print(f"{minutes:3} min {seconds:2} s  {text}", markup=False, soft_wrap=True)

    own = {} if args.tune else SETTINGS
    known = {name: {**own.get(name, {}), **args.settings} for name in args.students}
    steps = args.seeds * (1 + len(args.students) * len(args.losses))
    untuned = sum(len(unknown(args.losses, settings)) for settings in known.values())
    trial_seeds = min(args.seeds, 3)
    steps += TRIALS * untuned * trial_seeds
    runs, teacher_tests, students = [], [], {}
    # In a log, the notes on the way replace the bar.
    with Progress(console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("teachers", total=steps)

        def advance(doing: str) -> None:
            progress.update(bar, advance=1, description=doing)

        for seed in range(args.seeds):
            data = problem(args.dataset, args.root, seed).learn[0].to(args.device)
            teacher, test = train_teacher("GAT", seed, data, args)
            two = any(method.removeprefix("kd+") == "teachers" for method in args.losses)
            second = train_teacher("SAGE", seed, data, args)[0] if two else None
            runs.append(Run(seed, data, teacher, second))
            teacher_tests.append(test)
            advance("teachers")
        note(f"teachers trained: {args.seeds}")
        if untuned:
            runs_each = (
                f"{TRIALS} settings, {trial_seeds} seed{'s' if trial_seeds > 1 else ''} each"
            )
            note(f"methods to tune first: {untuned} ({runs_each}); --settings spares them")
        for name in args.students:
            settings = tune(runs[:trial_seeds], name, known[name], args, advance, note)
            if chosen := {k: v for k, v in settings.items() if k not in known[name]}:
                given = " ".join(f"{method}={setting}" for method, setting in chosen.items())
                note(f"{name}, the next time: --settings {given}")
            tests: dict[str, list[float]] = {method: [] for method in args.losses}
            for run, method in itertools.product(runs, args.losses):
                tests[method].append(distil(run, name, method, settings, args)[1])
                advance(f"{name}, {method}")
            methods = _common.compare(tests)
            students[name] = {**cost(name, data), "settings": settings, "methods": methods}
            note(f"{name} students distilled: {args.seeds * len(methods)}")

    result = {
        "dataset": args.dataset,
        "metric": "accuracy" if int(data.y.max()) > 1 else "ROC-AUC",
        "nodes": data.num_nodes,
        "edges": data.num_edges,
        "labelled": int(data.train_mask.sum()),
        "seeds": args.seeds,
        "epochs": args.epochs,
        "device": str(args.device),
        "threads": args.threads,
        "teacher": {**cost("GAT", data), "test": _common.mean_std(teacher_tests)},
        "students": students,
    }
    _report.print_tables(result, console)
    _report.plot(result, args.figure)
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    note(f"done: tables above, figure in {args.figure}, numbers in {args.out}.")


if __name__ == "__main__":
    main()
