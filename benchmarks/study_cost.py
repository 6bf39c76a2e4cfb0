"""What the study's methods cost while a student trains, beside what they gain.

    python benchmarks/study_cost.py --study study --root data    # Digits, GAT into an MLP
    python benchmarks/study_cost.py --study study --dataset Cora --student GCN

The study's cells have chosen the settings; they must be there, in the folder --study. Each method
trains in a process of its own, turn by turn: the time of an epoch is the median over its epochs,
then over the turns. It is process time, of one thread, and holds the validation that every epoch
ends with. Memory is the rise of the process's peak resident size from where the data, the models
and the teacher's outputs are loaded (Linux only). The gain is the test score minus that of the
student alone, seed by seed, from the study's lines. "none" is the student alone.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import torch
from _measure import peak_rise, spread
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from examples.study import fit, schedule, work  # noqa: E402
from examples.study.similarity import interval  # noqa: E402
from examples.study.work import Job, Limits  # noqa: E402

WARM = 3  # epochs that are not timed


def job_of(args: argparse.Namespace, method: str) -> Job:
    alone = Job(args.dataset, args.setting, args.student)
    return alone if method == "none" else alone._replace(teacher=args.teacher, method=method)


def read(args: argparse.Namespace) -> tuple[schedule.Results, Limits]:
    """The lines of the cells, which say under which limits they were made."""
    limits = Limits(args.root, str(args.work), args.trials, args.tuning_seeds)
    name = f"{args.dataset.replace(':', '-')}-{args.setting}.jsonl"
    with (args.study / name).open() as file:
        limits = limits._replace(**json.loads(file.readline())["limits"])
    return schedule.Results(args.study, args.dataset, args.setting, limits), limits


def measure(method: str, args: argparse.Namespace) -> dict[str, float]:
    """Seconds an epoch, and MiB, of a run in this process."""
    torch.set_num_threads(1)
    (cells, limits), job = read(args), job_of(args, method)
    known = schedule.known(job, cells.lines, limits)
    options = known and work.chosen(job, cells.lines[job], known, limits)
    if options is None:
        raise SystemExit(f"The search of {method} has not finished in {cells.path}.")
    model, problem, training, lessons = work.prepared(job, options, 0, known, limits)
    training = training._replace(epochs=WARM + args.epochs, patience=WARM + args.epochs)
    ends: list[float] = []
    peak = peak_rise(
        lambda: fit.fit(
            model, problem, training, lessons, lambda epoch: ends.append(time.process_time())
        ),
        "cpu",
    )
    epochs = [after - before for before, after in pairwise(ends)]
    return {"seconds": statistics.median(epochs[WARM - 1 :]), "mib": peak}


def gain(cells: schedule.Results, job: Job) -> dict[str, float]:
    """The paired difference of the test score to the student alone, with its 95 % interval."""
    alone = Job(job.dataset, job.setting, job.model)
    scores, none = (
        {line["seed"]: line["test"] for line in cells.lines[one] if line["phase"] == "test"}
        for one in (job, alone)
    )
    seeds = scores.keys() & none.keys()
    mean, low, high = interval([scores[seed] - none[seed] for seed in sorted(seeds)])
    return {"mean": mean, "low": low, "high": high, "seeds": len(seeds)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--study", type=Path, default=HERE / "results" / "study", help="the cells' folder")
    add("--dataset", default="Digits")
    add("--setting", default="transductive")
    add("--teacher", default="GAT")
    add("--student", default="MLP")
    add("--methods", nargs="+", help="default: all whose test runs are there")
    add("--epochs", type=int, default=20, help="that are timed in a process (%(default)s)")
    add("--turns", type=int, default=5, help="processes for each method (%(default)s)")
    add("--trials", type=int, default=Limits._field_defaults["trials"], help="as in the study")
    add("--tuning-seeds", type=int, default=Limits._field_defaults["tuning_seeds"])
    add("--root", default="data")
    add("--work", type=Path, default=Path("runs/study"))
    add("--out", type=Path, default=HERE / "results" / "study_cost.json")
    add("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(args.child, args)))
        return
    cells, _ = read(args)
    tested = [
        job.method
        for job, lines in cells.lines.items()
        if (job.model, job.teacher) == (args.student, args.teacher)
        and any(line["phase"] == "test" for line in lines)
    ]
    methods = ["none", *(args.methods or tested)]
    command = [sys.executable, "-W", "ignore", *sys.argv, "--child"]
    seen: dict[str, list[dict[str, float]]] = {method: [] for method in methods}
    for _ in range(args.turns):
        for method in methods:
            done = subprocess.run([*command, method], check=True, capture_output=True, text=True)
            seen[method].append(json.loads(done.stdout))
    rows = {
        method: {
            "seconds": spread([one["seconds"] for one in runs]),
            "mib": statistics.median(one["mib"] for one in runs),
            "gain": gain(cells, job_of(args, method)),
        }
        for method, runs in seen.items()
    }
    result = json.loads(args.out.read_text()) if args.out.exists() else {}
    column = f"{args.dataset}, {args.setting}, {args.teacher} to {args.student}"
    result[column] = {"epochs": args.epochs, "turns": args.turns, "methods": rows}
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    show(column, rows)


def show(column: str, rows: dict[str, dict]) -> None:
    table = Table("method", title=column)
    for name in ("ms an epoch", "peak, MiB", "gain, 95 %"):
        table.add_column(name, justify="right")
    for method, row in rows.items():
        found = row["gain"]
        text = f"{found['mean']:+.2f} [{found['low']:+.2f}, {found['high']:+.2f}]"
        table.add_row(
            method.replace("[", r"\["), f"{1e3 * row['seconds']['median']:.1f}",
            f"{row['mib']:.1f}", "" if method == "none" else text,
        )  # fmt: skip
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main()
