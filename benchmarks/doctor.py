"""The doctor on every example: its findings, false alarms unless they are right, and its cost.

    python benchmarks/doctor.py           # hours; a script that has run is not run again
    python benchmarks/doctor.py --cost    # the cost alone, some minutes

Each example runs with --doctor at three seeds: quickstart.py with every loss and both students, and
all others as they stand. The cost is the processor time of a training step of the quickstart with
the doctor over that without it, on one thread: medians of blocks of steps that take turns.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent / "examples"
sys.path.insert(0, str(EXAMPLES))

import quickstart as demo  # noqa: E402

from graphkd.diagnostics import Doctor  # noqa: E402

SEEDS = 3
# Each script's flags beyond the seeds.
RUNS = {
    "graph_agnostic.py": [],
    "multilabel.py": ["--methods", "none", "kd", "lsp", "gcrd", "kd+gcrd", "kd+lsp"],
    "molecules.py": ["--methods", "none", "kd", "at", "lsp", "gcrd", "kd+gcrd"],
    "point_cloud.py": [],
    "hetero.py": [],
    "ddp.py": ["--no-check"],
    "lightning_module.py": [],
    "sampled.py": ["--loader", "random", "--epochs", "40"],
    "quickstart.py, MLP": ["--losses", "all", "--students", "MLP"],
    "quickstart.py, GCN": ["--losses", "all", "--students", "GCN"],
}
METHODS = ("kd", "gcrd", "kd+gcrd", "lsp", "glsp")
# Steps of a block, and how often each method's two blocks take turns.
STEPS, TURNS = 20, 9

console = Console(highlight=False)


def watched(name: str, flags: list[str]) -> dict:
    """Run an example under the doctor: each run of a student with the codes of its findings."""
    script = EXAMPLES / name.partition(",")[0]
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "findings.jsonl"
        out = ["--out", f"{folder}/out.json"]
        if script.stem == "quickstart":
            out += ["--figure", f"{folder}/out.png"]
        command = [sys.executable, script, "--seeds", str(SEEDS), *flags, *out, "--doctor", lines]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{name} failed:\n{done.stderr[-3000:]}")
        runs = [json.loads(line) for line in lines.read_text().splitlines()]
    alarms = [{"run": run["run"], **finding} for run in runs for finding in run["found"]]
    failed = [run["run"] for run in runs if "Could not look" in run["report"]]
    seconds = round(time.perf_counter() - start)
    return {"runs": len(runs), "alarms": alarms, "failed": failed, "seconds": seconds}


def cost(every: int) -> dict[str, float]:
    """By method: the time of a step with the doctor over the time without, on the quickstart."""
    flags = argparse.Namespace(
        epochs=30, checkpoint=None, device=torch.device("cpu"), amp=False, compile=False,
        doctor=None,
    )  # fmt: skip
    data = demo.problem("Digits", "", 0).learn[0]
    teacher, _ = demo.train_teacher("GAT", 0, data, flags)
    case = demo.Case(demo.HIDDEN["MLP"][1], demo.HIDDEN["GAT"][1], data, teacher, None)
    ratios = {}
    for method in METHODS:
        blocks = [block(method, case, doctor) for doctor in (None, every)]
        times: list[list[float]] = [[], []]
        for turn in range(TURNS + 1):
            for one, kept in zip(blocks, times, strict=True):
                start = time.process_time()
                one()
                if turn:  # the first one warms up
                    kept.append(time.process_time() - start)
        plain, seen = map(statistics.median, times)
        ratios[method] = round(seen / plain, 4)
        console.print(f"{method}: {seen / plain:.3f} ({1e3 * plain / STEPS:.1f} ms a step)")
    return ratios


def block(method: str, case: demo.Case, every: int | None):
    """A function that trains for some steps, as the quickstart does."""
    torch.manual_seed(0)
    data = case.data
    model = demo.build("MLP", data)
    objective, given = demo.objective(method, demo.SETTINGS["MLP"], case)
    optimizer = torch.optim.Adam([*model.parameters(), *objective.parameters()], lr=0.01)
    loss = objective
    if every is not None:
        loss = Doctor(objective, student=model, optimizer=optimizer, every=every)
    tap = demo.graphkd.Tap(model, demo.HIDDEN["MLP"][0])

    def steps() -> None:
        model.train()
        for _ in range(STEPS):
            z = demo.forward(model, data)
            task = F.cross_entropy(z[data.train_mask], data.y[data.train_mask])
            extra, _ = loss(
                h_s=tap.value, h_t=case.teacher.h, z_s=z, z_t=case.teacher.z, y=data.y,
                edge_index=data.edge_index, task_loss=task, **given,
            )  # fmt: skip
            optimizer.zero_grad()
            (task + extra).backward()
            optimizer.step()

    return steps


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cost", action="store_true", help="measure the cost alone, anew")
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "doctor.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    result = {"seeds": SEEDS, "every": 10, "cost": {}, "examples": {}}
    if args.out.exists():
        result |= json.loads(args.out.read_text())
    if args.cost or not result["cost"]:
        result["cost"] = {str(every): cost(every) for every in (1, 10)}
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    for name in () if args.cost else args.only:
        if name not in result["examples"]:
            result["examples"][name] = watched(name, RUNS[name])
            args.out.write_text(json.dumps(result, indent=1) + "\n")
        found = result["examples"][name]
        console.print(f"{name}: {found['runs']} runs, {len(found['alarms'])} alarms", markup=False)
    console.print(f"Written: {args.out.name}. `python benchmarks/report.py` renders it.")


if __name__ == "__main__":
    main()
