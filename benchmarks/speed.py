"""Time and memory of the losses, forward and backward, against the naive form and other packages.

    python benchmarks/speed.py                   # all sections; under a quarter of an hour
    python benchmarks/speed.py gcrd global_lsp   # the sections whose names begin so
    python benchmarks/speed.py --quick           # tiny sizes, to see that all of it runs

The contenders of a case take turns in one process, and ratios are taken turn by turn, so that other
work on the machine affects all of them. Memory is measured afterwards, each contender in a process
of its own. With a CUDA device the same cases run there.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import _measure as measure
import torch
from _cases import SECTIONS, Case, draw, quick
from _contenders import LOSSES, PRECISIONS
from _peers import PACKAGES, Contender, missing
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import graphkd

HERE = Path(__file__).resolve().parent
# The C library returns its largest allocations to the system at once, so that peaks show.
CHILD_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536"}


def entrants(case: Case, device: str) -> tuple[dict[str, Contender], dict[str, str]]:
    """The contenders that take part in a case, and why others do not."""
    able, unable = {}, {}
    for name, contender in LOSSES[case.loss].contenders().items():
        needed = contender.needs(case.size)
        reason = missing(contender)
        if reason is None and needed > 0.9 * measure.available_bytes(device):
            reason = f"would need some {needed / 2**30:.0f} GiB"
        if (name == "naive, compiled" and not case.compiled) or case.n > contender.most:
            continue
        if contender.cuda_only and device != "cuda":
            continue
        if case.wall and name not in ("ours", "naive", "naive, unit rows"):
            continue
        if reason:
            unable[name] = reason
        else:
            able[name] = contender
    return able, unable


def run_case(case: Case, device: str) -> dict[str, Any]:
    able, unable = entrants(case, device)
    inputs, steps, values = draw(case, device), {}, {}
    torch.compiler.reset()
    with measure.threads(case.threads):
        for name, contender in able.items():
            try:
                forward = contender.prepare(inputs)
                steps[name] = measure.stepper(forward, inputs)
                values[name] = float(steps[name]())
            except Exception as error:  # the failure of another one is a result
                if name == "ours":
                    raise
                unable[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
                steps.pop(name, None)
        loss = LOSSES[case.loss]
        rates = measure.peaks(loss.bound, loss.dtype, device) if loss.work and not case.wall else {}
        everyone = steps | {name: step for name, (step, _) in rates.items()}
        times = measure.interleave(everyone, case.seconds, device, case.wall)
        built = [_build_seconds(inputs, device) for _ in range(3)] if case.edges else None
    record: dict[str, Any] = {
        **{key: value for key, value in asdict(case).items() if key not in ("compiled", "seconds")},
        "label": loss.label,
        "counted": loss.counted,
        "rounds": len(times["ours"]),
        "gradient_mib": case.n * case.d * 4 * (1 + loss.both_learn) / 2**20,
        "skipped": unable,
        "peaks": {
            name: measure.spread([work / t for t in times[name]])
            for name, (_, work) in rates.items()
        },
        "contenders": {},
    }
    if built:
        record["graph_seconds"] = measure.spread(built)
    for name in steps:
        record["contenders"][name] = row = {
            "seconds": measure.spread(times[name]),
            "over_ours": _turn_by_turn(times[name], times["ours"]),
            "difference": abs(values[name] / values["ours"] - 1),
        }
        peak = _peak_of(name, loss.bound, loss.dtype)
        if peak in rates:
            part = loss.work(case.size) / rates[peak][1]
            row["of_peak"] = _turn_by_turn([part * t for t in times[peak]], times[name])
    return record


def _build_seconds(inputs: Any, device: str) -> float:
    def build() -> graphkd.Graph:
        return graphkd.Graph(inputs.edge_index, len(inputs.h_s))

    return measure.seconds(build, 1, device, wall=False)


def _turn_by_turn(these: list[float], those: list[float]) -> dict[str, float]:
    return measure.spread([a / b for a, b in zip(these, those, strict=True)])


def _peak_of(name: str, bound: str, dtype: str) -> str:
    named = [precision for precision in PRECISIONS if name.endswith(precision)]
    return "copy" if bound == "copy" else f"gemm, {named[0] if named else dtype}"


def memory(case: Case, names: list[str], device: str) -> dict[str, float]:
    """MiB of each contender; two at a time if both fit easily."""
    needs = [LOSSES[case.loss].contenders()[name].needs(case.size) for name in names]
    easy = device == "cpu" and max(needs) < measure.available_bytes(device) / 8

    def child(name: str) -> float:
        task = json.dumps({"case": asdict(case), "contender": name, "device": device})
        done = subprocess.run(
            [sys.executable, "-W", "ignore", __file__, "--child", task],
            capture_output=True, text=True, check=True, env=os.environ | CHILD_ENVIRONMENT,
        )  # fmt: skip
        return float(done.stdout.splitlines()[-1])

    with ThreadPoolExecutor(2 if easy else 1) as pool:
        return dict(zip(names, pool.map(child, names), strict=True))


def memory_of_one(task: dict[str, Any]) -> float:
    case, device, name = Case(**task["case"]), task["device"], task["contender"]
    contender = LOSSES[case.loss].contenders()[name]
    warm = case if "compiled" in name else Case(case.loss, 64, case.d, min(case.edges, 512))
    with measure.threads(case.threads):
        inputs = draw(warm, device)
        measure.stepper(contender.prepare(inputs), inputs)()
        inputs = draw(case, device)
        return measure.peak_rise(measure.stepper(contender.prepare(inputs), inputs), device)


def environment(device: str) -> dict[str, Any]:
    """The machine and the versions; one file never mixes the results of two."""
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    versions["graphkd"] = graphkd.__version__
    for package in PACKAGES.values():
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    processor = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    machine = {
        "processor": processor[0] if processor else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
    }
    if device == "cuda":
        machine["gpu"] = torch.cuda.get_device_name()
    return {"device": device, "machine": machine, "versions": versions}


def show(console: Console, section: str, records: list[dict[str, Any]]) -> None:
    table = Table("case", "contender", "time", "of ours", "of peak", "memory", title=section)
    for record in records:
        where = f"{record['label']}, N = {record['n']:,}"
        for name, row in record["contenders"].items():
            table.add_row(
                where, name, f"{1e3 * row['seconds']['median']:.4g} ms",
                f"{row['over_ours']['median']:.2f}",
                f"{row['of_peak']['median']:.0%}" if "of_peak" in row else "",
                f"{row['peak_mib']:,.1f} MiB" if "peak_mib" in row else "",
            )  # fmt: skip
            where = ""
        for name, reason in record["skipped"].items():
            table.add_row(where, name, reason)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=", ".join(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="a smoke run; writes only to --out")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, help="default: results/speed_DEVICE.json")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    # No helper processes for compilation, which would run beside a measurement.
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    if args.child:
        print(memory_of_one(json.loads(args.child)))
        return
    warnings.simplefilter("ignore")
    names = [s for s in SECTIONS if not args.names or s.startswith(tuple(args.names))]
    if not names:
        parser.error(f"no section begins with {' or '.join(args.names)}; got {', '.join(SECTIONS)}")
    out = args.out or (None if args.quick else HERE / "results" / f"speed_{args.device}.json")
    report = {**environment(args.device), "quick": args.quick, "sections": {}}
    if out and out.exists() and len(names) < len(SECTIONS):
        old = json.loads(out.read_text())
        if any(old[key] != report[key] for key in report if key != "sections"):
            parser.error(f"{out.name} is of another machine or other versions: run all, or --out")
        report["sections"] = old["sections"]
    cases = {name: quick(SECTIONS[name]) if args.quick else SECTIONS[name] for name in names}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn()) as progress:
        task = progress.add_task("", total=sum(map(len, cases.values())))
        for section in names:
            records = []
            for case in cases[section]:
                progress.update(task, description=case.where)
                records.append(run_case(case, args.device))
                rows = records[-1]["contenders"]
                if not case.wall:
                    some = [n for n in rows if n in ("ours", "naive") or not args.quick]
                    for name, mib in memory(case, some, args.device).items():
                        rows[name]["peak_mib"] = mib
                progress.advance(task)
            report["sections"][section] = records
            show(progress.console, section, records)
            if out:
                ordered = {s: report["sections"][s] for s in SECTIONS if s in report["sections"]}
                out.write_text(json.dumps(report | {"sections": ordered}, indent=1) + "\n")


if __name__ == "__main__":
    main()
