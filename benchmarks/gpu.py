"""Whether the Triton programs are right on a GPU, and which backend ``auto`` should be there.

    python benchmarks/gpu.py               # ten minutes on a machine with CUDA
    python benchmarks/gpu.py --minutes 4   # what fits into four
    python benchmarks/gpu.py --dry-run     # tiny sizes on the CPU, in Triton's interpreter

First every program is compared with float64. Then follow time and memory of a step, forward and
backward: naive, compiled, chunked and Triton, in each precision, float32 first. The JSON is written
after every case. Cases run in a process of their own: one that fails, hangs or takes the process
down is a result, and the next case runs in a new process. The last line says what ``auto`` should
be.
"""

import argparse
import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch
from _gpu import Unit, check, checks, timed, timing

import graphkd

OUT = Path(__file__).resolve().parent / "results" / "gpu.json"
LONGEST = 100.0  # seconds for one case, its compilation included
FASTER = 1.05  # how much faster than chunked a default must be, in every case


def work(args: argparse.Namespace) -> None:
    """Run the cases from number ``args.worker`` on, one line of JSON each."""
    for unit in units_of(args)[args.worker :]:
        torch.manual_seed(0)
        torch.compiler.reset()
        fatal = False
        try:
            run = check if unit.kind == "check" else timing
            record = run(unit, args.device, args.dry_run)
        except Exception as problem:  # a failure is a result
            text = str(problem).strip().splitlines() or [""]
            record = {"failed": f"{type(problem).__name__}: {text[0][:300]}"}
            # After any other error, nothing that the device says can be relied on.
            fatal = not isinstance(problem, torch.OutOfMemoryError)
        print("RESULT " + json.dumps(record), flush=True)
        if fatal:
            return
        if args.device == "cuda":
            torch.cuda.empty_cache()


def units_of(args: argparse.Namespace) -> list[Unit]:
    return checks(args.dry_run) + timed(args.dry_run)


class Worker:
    """A process that runs the cases from one number on."""

    def __init__(self, first: int, args: argparse.Namespace) -> None:
        command = [sys.executable, "-W", "ignore", __file__, "--worker", str(first)]
        command += ["--device", args.device, *(["--dry-run"] if args.dry_run else [])]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.lines.put(line)
        self.lines.put(None)

    def result(self, seconds: float) -> tuple[dict[str, Any], bool]:
        """The next case's record, and whether the process goes on."""
        last, end = "", time.perf_counter() + seconds
        while True:
            try:
                line = self.lines.get(timeout=max(end - time.perf_counter(), 0.01))
            except queue.Empty:
                self.stop()
                return {"failed": f"took longer than {seconds:.0f} s"}, False
            if line is None:
                self.stop()
                return {"failed": f"the process ended ({self.process.returncode}): {last}"}, False
            if line.startswith("RESULT "):
                record = json.loads(line.removeprefix("RESULT "))
                return record, "failed" not in record or "OutOfMemory" in record["failed"]
            last = line.strip()[:300] or last

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def verdict(records: list[dict[str, Any]]) -> str:
    """Which backend ``auto`` should be on this device, and why."""
    wrong = [
        str(Unit(*r["unit"])) for r in records if r["unit"][0] == "check" and not r.get("right")
    ]
    steps: dict[tuple, dict[str, dict[str, Any]]] = {}
    for record in records:
        unit = Unit(*record["unit"])
        if unit.kind == "time" and unit.precision == "float32":
            steps.setdefault((unit.name, unit.n, unit.d), {})[unit.way] = record
    lines, slower = [], []
    for (name, n, d), ways in steps.items():
        if not {"chunked", "triton"} <= set(ways):
            continue
        chunked, triton = ways["chunked"], ways["triton"]
        if "seconds" not in chunked or "seconds" not in triton:
            slower.append(name)
            continue
        ratio = chunked["seconds"] / triton["seconds"]
        apart = max(
            abs(triton[key] - chunked[key]) / (abs(chunked[key]) + 1e-12)
            for key in ("value", "gradient")
        )
        lines.append(f"{name} N = {n:,} d = {d}: triton {ratio:.2f} times as fast as chunked")
        if not ratio >= FASTER or not apart < 1e-3:
            slower.append(name)
    if wrong:
        answer = f"'chunked': these programs are wrong or do not run: {'; '.join(wrong)}"
    elif not lines:
        answer = "'chunked': no case of both backends was measured"
    elif fast := sorted({line.split()[0] for line in lines} - set(slower)):
        others = sorted(set(slower))
        answer = f"'triton' for {', '.join(fast)}" + (
            f"; 'chunked' for {', '.join(others)}" if others else ""
        )
    else:
        answer = "'chunked': triton is not faster, fails or differs in every loss"
    return "\n".join([*lines, f"On this device, auto should be {answer}"])


def row(record: dict[str, Any]) -> str:
    unit = str(Unit(*record["unit"]))
    if said := record.get("failed") or record.get("skipped"):
        return f"{unit:48} {'FAILED' if 'failed' in record else 'skipped'}: {said}"
    if "seconds" in record:
        return (
            f"{unit:48} {1e3 * record['seconds']:10.3f} ms {record['peak_mib']:10,.1f} MiB"
            f"   first {record['first_seconds']:.1f} s   value {record['value']:.6g}"
        )
    mark = "right" if record["right"] else "WRONG"
    return f"{unit:48} {mark}   error {record['error']:.1e}, allowed {record['allowed']:.1e}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="the whole run's, about")
    parser.add_argument("--dry-run", action="store_true", help="on the CPU; writes only to --out")
    parser.add_argument("--out", type=Path, help="default: results/gpu.json")
    parser.add_argument("--device", default="cuda", help=argparse.SUPPRESS)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.dry_run:
        args.device, os.environ["TRITON_INTERPRET"] = "cpu", "1"
    elif not torch.cuda.is_available():
        parser.error("no CUDA device; --dry-run tries the script on the CPU")
    if args.worker is not None:
        work(args)
        return
    end = time.perf_counter() + 60 * args.minutes
    gpu = torch.cuda.get_device_name() if args.device == "cuda" else "cpu"
    versions = {"torch": torch.__version__, "graphkd": graphkd.__version__}
    report: dict[str, Any] = {"device": gpu, "versions": versions, "minutes": args.minutes}
    records: list[dict[str, Any]] = []
    report["records"] = records
    out, worker = args.out or (None if args.dry_run else OUT), None
    for number, unit in enumerate(units_of(args)):
        left = end - time.perf_counter()
        if left < 1:
            record = {"skipped": "the time was over"}
        else:
            worker = worker or Worker(number, args)
            record, alive = worker.result(min(LONGEST, left))
            worker = worker if alive else None
        records.append({"unit": unit, **record})
        print(row(records[-1]), flush=True)
        report["verdict"] = verdict(records)
        if out:
            out.write_text(json.dumps(report, indent=1) + "\n")
    if worker:
        worker.stop()
    print(report["verdict"])


if __name__ == "__main__":
    main()
