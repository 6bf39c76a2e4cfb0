"""Whether a change made a loss slower: this checkout against another one, turn by turn.

    git worktree add ../before COMMIT
    python benchmarks/before_after.py ../before           # ten minutes
    python benchmarks/before_after.py ../before kd gcrd   # the losses whose names begin so

Each checkout runs in a process of its own, on one thread, forward and backward, without heads. They
take turns, a turn is some 30 ms of process time, and the ratio is taken turn by turn. The losses
are those of floors.py. Writes results/before_after.json.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import _measure as measure
import torch
from floors import cases, forms
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
ROWS, WIDTH, TURNS, SECONDS = (256, 2048), 128, 15, 0.03


def serve() -> None:
    """Time the cases that come in, one a line, until there are none."""
    torch.set_num_threads(1)
    steps: dict[str, Any] = {}
    for line in sys.stdin:
        name, n, repeat = json.loads(line)
        key = f"{name} {n}"
        if key not in steps:
            steps = {key: forms(name, n, WIDTH)[0]}
            for _ in range(3):
                steps[key]()
        print(measure.seconds(steps[key], repeat, "cpu", wall=False), flush=True)


class Side:
    """A process that runs the losses of one checkout."""

    def __init__(self, checkout: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(checkout.resolve()), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-W", "ignore", __file__, "--serve"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, env=environment
        )

    def ask(self, name: str, n: int, repeat: int) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([name, n, repeat]) + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def compare(name: str, n: int, before: Side, after: Side) -> list[float]:
    """The time after over the time before, turn by turn."""
    sides = before, after
    repeat = max(1, int(SECONDS / max(side.ask(name, n, 1) for side in sides)))
    ratios = []
    for turn in range(TURNS):
        order = sides if turn % 2 else sides[::-1]
        taken = {side: side.ask(name, n, repeat) for side in order}
        ratios.append(taken[after] / taken[before])
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path, help="the other checkout")
    parser.add_argument("names", nargs="*", help="the beginnings of the losses' names; default all")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "before_after.json")
    args = parser.parse_args()
    commit = subprocess.run(
        ["git", "-C", args.before, "rev-parse", "--short", "HEAD"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    before, after = Side(args.before), Side(HERE.parent)
    console, records = Console(highlight=False), []
    board = Table("loss", "rows", "after / before", "quartiles")
    for name, label in dict.fromkeys((name, label) for name, label, *_ in cases(quick=True)):
        # The form in which both sides learn is called from inside, and may not be the same before.
        if name == "gcrd_both" or not name.startswith(tuple(args.names) or ""):
            continue
        for n in ROWS:
            spread = measure.spread(compare(name, n, before, after))
            records.append({"loss": name, "label": label, "n": n, "ratio": spread})
            quartiles = f"{spread['low']:.2f} to {spread['high']:.2f}"
            board.add_row(label, f"{n:,}", f"{spread['median']:.2f}", quartiles)
    console.print(board)
    args.out.write_text(json.dumps({"before": commit, "cases": records}, indent=1) + "\n")
    console.print(f"Written: {args.out.name}")


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["--serve"] else main()
