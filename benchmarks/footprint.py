"""The cost of each loss on a graph of 50,000 nodes, forward and backward, in its default form.

    python benchmarks/footprint.py            # all losses; some ten minutes on two cores
    python benchmarks/footprint.py lsp gcrd   # some of them

Each loss runs in a process of its own. Memory is the rise of that process's peak resident size,
reset after a run on 64 nodes, and includes the gradient. The obvious form holds N × N matrices; the
table gives the size of one. Absolute times depend on the machine: compare them with one another.
The time of `import graphkd` beyond `import torch` is measured too. Linux only.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import graphkd.functional as G

HERE = Path(__file__).resolve().parent
NODES, WIDTH, EDGES, CLASSES = 50_000, 128, 500_000, 40

Step = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
STEPS: dict[str, Step] = {
    "kd": lambda s, t, _: G.kd_loss(s[:, :CLASSES], t[:, :CLASSES]),
    "fitnet": lambda s, t, _: G.fitnet_loss(s, t),
    "at": lambda s, t, _: G.attention_transfer_loss(s, t),
    "lsp": lambda s, t, edges: G.lsp_loss(s, t, edges),
    "lsp l2": lambda s, t, edges: G.lsp_loss(s, t, edges, kernel="l2"),
    "glsp": lambda s, t, _: G.global_lsp_loss(s, t),
    "glsp poly": lambda s, t, _: G.global_lsp_loss(s, t, kernel="poly"),
    "glsp rbf": lambda s, t, _: G.global_lsp_loss(s, t, kernel="rbf", gamma="median"),
    "gcrd": lambda s, t, _: G.gcrd_loss(s, t),
}


def peak_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def measure(name: str) -> dict[str, float]:
    """One forward and backward pass in this process, after a small one that loads everything."""
    torch.manual_seed(0)
    h_s = torch.randn(NODES, WIDTH, requires_grad=True)
    h_t = torch.randn(NODES, WIDTH)
    edges = torch.randint(0, NODES, (2, EDGES))
    STEPS[name](h_s[:64], h_t[:64], edges[:, :512] % 64).backward()
    h_s.grad = None
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of importing torch
    before = peak_kib()
    start = time.perf_counter()
    STEPS[name](h_s, h_t, edges).backward()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak_mib": (peak_kib() - before) / 1024}


def in_a_process(*arguments: str) -> str:
    command = [sys.executable, "-W", "ignore", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def import_milliseconds(repeats: int = 15) -> dict[str, float]:
    """Medians of fresh processes, interleaved."""
    code = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
    times: dict[str, list[float]] = {"torch": [], "torch, graphkd": []}
    for _ in range(repeats):
        for modules, seen in times.items():
            seen.append(1e3 * float(in_a_process("-c", code.format(modules))))
    torch_alone, both = (statistics.median(seen) for seen in times.values())
    return {"torch": torch_alone, "graphkd": both - torch_alone}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=", ".join(STEPS))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "footprint.json")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(args.child)))
        return
    console, results = Console(), {}
    for name in args.names or STEPS:
        results[name] = json.loads(in_a_process(__file__, "--child", name))
        console.print(f"{name}: {results[name]['seconds']:.1f} s", highlight=False)
    imports = import_milliseconds()
    report = {
        "machine": {"processor": platform.machine(), "threads": torch.get_num_threads()},
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "sizes": {"nodes": NODES, "width": WIDTH, "edges": EDGES, "classes": CLASSES},
        "dense_matrix_mib": NODES**2 * 4 / 2**20,
        "gradient_mib": NODES * WIDTH * 4 / 2**20,
        "import_ms": imports,
        "losses": results,
    }
    if not args.names:
        args.out.write_text(json.dumps(report, indent=1) + "\n")
    table = Table("loss", "forward + backward", "peak memory", title=f"{NODES:,} nodes")
    for name, row in results.items():
        table.add_row(name, f"{row['seconds']:.1f} s", f"{row['peak_mib']:,.0f} MiB")
    console.print(table)
    console.print(
        f"One N × N matrix: {report['dense_matrix_mib']:,.0f} MiB. "
        f"import graphkd: {imports['graphkd']:.0f} ms beyond torch's {imports['torch']:.0f} ms.",
        highlight=False,
    )


if __name__ == "__main__":
    main()
