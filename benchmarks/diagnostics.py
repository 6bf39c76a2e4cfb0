"""The cost of the measures of graphkd.diagnostics, and of a thousand permutations.

    python benchmarks/diagnostics.py              # all; a quarter of an hour
    python benchmarks/diagnostics.py linear_cka   # some of them; the file keeps the others

Each measure runs on 50,000 rows in a process of its own, after a run on 64 rows that loads
everything. Memory is the rise of that process's peak resident size, beyond the inputs. The obvious
form holds two N × N matrices in float64; the report gives the size of one.

A permutation test runs on 20,000 rows, with as many permutations as show the cost of each. Times
are process time on one thread. Linux only.
"""

import argparse
import functools
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import _measure as measure
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from graphkd import diagnostics

HERE = Path(__file__).resolve().parent
NODES, EDGES, K, WIDTHS = 50_000, 500_000, 10, (128, 512)
ROWS, PERMUTATIONS, PAIRS = 20_000, 100, ((64, 256), (128, 128), (256, 256))
OF_MOMENTS = ("linear_cka", "global_structure_correlation", "procrustes_disparity")
MEASURES = (
    *OF_MOMENTS,
    "local_structure_correlation",
    "neighbour_overlap",
    "second_order_cosine",
    "agreement",
)


def measured(name: str, nodes: int, width: int) -> dict[str, float]:
    """Seconds and MiB of one call in this process."""
    torch.manual_seed(0)

    def call(n: int) -> Callable[[], Tensor]:
        h_s, h_t = torch.randn(n, width), torch.randn(n, width)
        function = getattr(diagnostics, name)
        if name == "local_structure_correlation":
            edges = torch.randint(0, n, (2, EDGES * n // NODES))
            function = functools.partial(function, edge_index=edges)
        return lambda: function(h_s, h_t)

    call(64)()
    step = call(nodes)
    start = time.process_time()
    peak_mib = measure.peak_rise(step, "cpu")
    return {"seconds": time.process_time() - start, "peak_mib": peak_mib}


def permuted(name: str, rows: int, widths: tuple[int, int]) -> float:
    """Seconds for each permutation, beyond what a test costs before the first."""
    torch.manual_seed(0)
    h_s, h_t = (torch.randn(rows, width) for width in widths)
    times = []
    for permutations in (1, 1, 1 + PERMUTATIONS):
        start = time.process_time()
        test = functools.partial(diagnostics.permutation_test, permutations=permutations)
        test(getattr(diagnostics, name), h_s, h_t)
        times.append(time.process_time() - start)
    return (times[2] - times[1]) / PERMUTATIONS


def in_a_process(*arguments: str) -> dict[str, float]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", __file__, "--child", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=", ".join(MEASURES))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "diagnostics.json")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        name, width = args.child
        print(json.dumps(measured(name, NODES, int(width))))
        return
    console, names = Console(), args.names or MEASURES
    before = json.loads(args.out.read_text()) if args.names and args.out.exists() else {}
    measures = before.get("measures", {})
    permutations = before.get("seconds_per_permutation", {})
    with measure.threads(1):
        for name in names:
            measures[name] = {str(width): in_a_process(name, str(width)) for width in WIDTHS}
            console.print(name, measures[name], highlight=False)
            if name in OF_MOMENTS:
                widths = {f"{s} × {t}": (s, t) for s, t in PAIRS}
                permutations[name] = {key: permuted(name, ROWS, w) for key, w in widths.items()}
    report = {
        "machine": {"processor": platform.machine(), "threads": 1},
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "sizes": {"nodes": NODES, "edges": EDGES, "k": K, "rows": ROWS},
        "dense_matrix_mib": NODES**2 * 8 / 2**20,
        "measures": {name: measures[name] for name in MEASURES if name in measures},
        "seconds_per_permutation": permutations,
    }
    args.out.write_text(json.dumps(report, indent=1) + "\n")
    table = Table("measure", *(f"{s} × {t}" for s, t in PAIRS), title="1,000 permutations")
    for name, row in permutations.items():
        table.add_row(name, *(f"{1000 * seconds:.0f} s" for seconds in row.values()))
    console.print(table)


if __name__ == "__main__":
    main()
