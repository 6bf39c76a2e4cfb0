"""Whether no loss is slower than plain torch: the floors on speed, and whether each is reached.

    python benchmarks/floors.py              # three minutes
    python benchmarks/floors.py fitnet gcrd  # the losses whose names begin so
    python benchmarks/floors.py --quick      # tiny sizes, to see that all of it runs

Forward and backward on one thread of a CPU, in process time. A loss and its plain form take turns,
and the ratio of their times is taken turn by turn. From 1,024 rows up its median must be 0.9 or
more, at 256 rows 0.7. The plain forms are those of naive.py and _family.py. Ends with 1 if a floor
is missed. Run nothing else on the machine.
"""

import argparse
import json
import platform
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import _measure as measure
import torch
from _contenders import LOSSES
from _family import PLAIN, make_inputs
from _peers import Inputs
from rich.console import Console
from rich.table import Table
from torch import Tensor

HERE = Path(__file__).resolve().parent
FLOOR, FLOOR_OF_FEW, FEW = 0.9, 0.7, 1024
# Those of the paper's six whose plain form has rows alone, and those whose plain form has pairs.
BY_ROW, BY_PAIR = ("kd", "fitnet", "at"), ("gcrd", "gcrd_both", "global_lsp")
ROWS, WIDTHS, SECONDS = (256, 1024, 2048, 8192, 20_000), (64, 128, 256), 1.0
# The most rows at which N × N matrices are worth the wait.
MOST_OF_PAIRS = 2048

Pair = tuple[Callable[[], Tensor], Callable[[], Tensor]]


def cases(quick: bool) -> Iterator[tuple[str, str, int, int]]:
    """The name and label of a loss, and the rows and width of its inputs."""
    rows, widths = ((64,), (16,)) if quick else (ROWS, WIDTHS)
    for name, loss in LOSSES.items():
        if name.startswith(BY_ROW + BY_PAIR):
            most = max(rows) if name.startswith(BY_ROW) else MOST_OF_PAIRS
            yield from ((name, loss.label, n, d) for n in rows if n <= most for d in widths)
    for name, (nodes, _) in PLAIN.items():
        yield name, name, rows[0] if quick else nodes, widths[0] if quick else 128


def forms(name: str, n: int, d: int) -> Pair:
    """One step of the loss, and one of its plain form, on inputs that both share."""
    if name in PLAIN:
        family, (_, pair) = make_inputs(n, d), PLAIN[name]
        ours, plain = (partial(pair[form], family) for form in ("graphkd", "plain"))
        inputs = Inputs(family.h_s, family.h_t)
    else:
        loss = LOSSES[name]
        generator = torch.Generator().manual_seed(0)
        h_s, h_t = (torch.randn(n, d, generator=generator) for _ in range(2))
        inputs = Inputs(h_s.requires_grad_(), h_t.requires_grad_(loss.both_learn))
        ours, plain = partial(loss.ours, inputs), partial(loss.naive, *inputs.plain)
    return measure.stepper(ours, inputs), measure.stepper(plain, inputs)


def run(name: str, label: str, n: int, d: int, seconds: float) -> dict[str, Any]:
    steps = dict(zip(("ours", "plain"), forms(name, n, d), strict=True))
    times = measure.interleave(steps, seconds, "cpu", wall=False)
    ratios = [b / a for a, b in zip(times["ours"], times["plain"], strict=True)]
    floor, speed = FLOOR if n >= FEW or name in PLAIN else FLOOR_OF_FEW, measure.spread(ratios)
    return {
        "loss": name,
        "label": label,
        "n": n,
        "d": d,
        "floor": floor,
        "speed": speed,
        "seconds": {form: measure.spread(values)["median"] for form, values in times.items()},
        "reached": speed["median"] >= floor,
    }


def show(console: Console, records: list[dict[str, Any]]) -> None:
    board = Table("loss", "rows", "width", "ours", "plain", "speed", "floor", "")
    for row in records:
        times = (f"{1e3 * row['seconds'][form]:.3g} ms" for form in ("ours", "plain"))
        speed = f"{row['speed']['median']:.2f}"
        verdict = "pass" if row["reached"] else "FAIL"
        where = row["label"], f"{row['n']:,}", str(row["d"])
        board.add_row(*where, *times, speed, str(row["floor"]), verdict)
    console.print(board)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="the beginnings of the losses' names; default all")
    parser.add_argument("--quick", action="store_true", help="a smoke run; writes only to --out")
    parser.add_argument("--out", type=Path, help="default: results/floors.json")
    args = parser.parse_args()
    chosen = [c for c in cases(args.quick) if not args.names or c[0].startswith(tuple(args.names))]
    if not chosen:
        parser.error(f"no loss begins with {' or '.join(args.names)}")
    torch.set_num_threads(1)
    records = [run(*case, 0.05 if args.quick else SECONDS) for case in chosen]
    console = Console(highlight=False)
    show(console, records)
    missed = sum(not record["reached"] for record in records)
    verdict = f"{len(records) - missed} floors reached, {missed} missed"
    console.print("A smoke run: too small to judge" if args.quick else verdict)
    out = args.out or (None if args.quick else HERE / "results" / "floors.json")
    if out:
        measured = {(r["loss"], r["n"], r["d"]) for r in records}
        old = json.loads(out.read_text())["floors"] if out.exists() else []
        kept = [r for r in old if (r["loss"], r["n"], r["d"]) not in measured]
        versions = {"python": platform.python_version(), "torch": torch.__version__}
        everything = {"versions": versions, "floors": kept + records}
        out.write_text(json.dumps(everything, indent=1) + "\n")
    sys.exit(bool(missed) and not args.quick)


if __name__ == "__main__":
    main()
