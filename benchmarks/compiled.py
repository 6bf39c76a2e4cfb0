"""When torch.compile pays: losses, and whole steps of a student, compiled against as they are.

    python benchmarks/compiled.py          # five minutes; needs a C++ compiler
    python benchmarks/compiled.py --quick  # tiny sizes, to see that all of it runs

Forward and backward in float32 on one thread of a CPU, in process time, turn by turn; the ratio is
taken turn by turn. `dynamic=True`, as batches differ in size. The first step, which compiles, is
timed apart, by the wall clock. A step of a student is its forward pass, KD beside the loss named,
the backward pass and Adam. Writes results/compiled.json.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import _measure as measure
import torch
from _cases import power_law_edges
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch_geometric.nn.models import GCN, MLP

import graphkd
import graphkd.functional as G

HERE = Path(__file__).resolve().parent
ROWS, WIDTH, CLASSES, DEGREE, SECONDS = (256, 2048, 20_000), 64, 16, 10, 2.0
# Losses of all pairs of rows are worth the wait up to here.
MOST_OF_PAIRS = 2048

Forward = Callable[[Tensor, Tensor, graphkd.Graph], Tensor]
LOSSES: dict[str, Forward] = {
    "KD": lambda h_s, h_t, graph: G.kd_loss(h_s, h_t),
    "FitNet": lambda h_s, h_t, graph: G.fitnet_loss(h_s, h_t),
    "Attention transfer": lambda h_s, h_t, graph: G.attention_transfer_loss(h_s, h_t),
    "LSP": G.lsp_loss,
    "Global LSP": lambda h_s, h_t, graph: G.global_lsp_loss(h_s, h_t),
    "G-CRD": lambda h_s, h_t, graph: G.gcrd_loss(h_s, h_t, temperature=0.5),
}
STUDENTS = {"MLP": MLP, "GCN": GCN}
BESIDE = {"FitNet": graphkd.FitNetLoss, "G-CRD": graphkd.GCRDLoss}


def of_a_loss(forward: Forward, n: int) -> tuple[Callable[[], object], ...]:
    """A step as it is, and compiled."""
    h_s, h_t, graph = rows(n, WIDTH).requires_grad_(), rows(n, WIDTH), a_graph(n)

    def step(function: Forward) -> None:
        torch.autograd.grad(function(h_s, h_t, graph), h_s)

    return tuple(partial(step, f) for f in (forward, torch.compile(forward, dynamic=True)))


def of_a_student(name: str, beside: str, n: int) -> tuple[Callable[[], object], ...]:
    """A step of training as it is, and with the student and the sum of losses compiled."""
    x, h_t, z_t, graph = rows(n, WIDTH), rows(n, WIDTH), rows(n, CLASSES), a_graph(n)
    inputs = (x, graph.edge_index) if name == "GCN" else (x,)

    def step(student: nn.Module, hidden: graphkd.Tap, losses: nn.Module, optimizer: Any) -> None:
        z_s = student(*inputs)
        total, _ = losses(h_s=hidden.value, h_t=h_t, z_s=z_s, z_t=z_t)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()

    def built(*, compiled: bool) -> Callable[[], object]:
        torch.manual_seed(0)
        sizes = {"in_channels": WIDTH, "hidden_channels": WIDTH, "out_channels": CLASSES}
        student = STUDENTS[name](**sizes, num_layers=2)
        hidden = graphkd.Tap(student, "act")
        loss = BESIDE[beside](WIDTH, WIDTH)
        losses = graphkd.WeightedSum(kd=(1.0, graphkd.KDLoss(1.0)), beside=(0.1, loss))
        optimizer = torch.optim.Adam([*student.parameters(), *losses.parameters()])
        if compiled:
            student.compile(dynamic=True)
            losses.compile(dynamic=True)
        return partial(step, student, hidden, losses, optimizer)

    return built(compiled=False), built(compiled=True)


def rows(n: int, width: int) -> Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(n + width))


def a_graph(n: int) -> graphkd.Graph:
    return graphkd.Graph(power_law_edges(n, DEGREE * n, torch.Generator().manual_seed(n)), n)


def cases(quick: bool) -> Iterator[tuple[str, int, Callable[[], tuple]]]:
    for n in (64,) if quick else ROWS:
        for name, forward in LOSSES.items():
            if n <= MOST_OF_PAIRS or name != "G-CRD":
                yield name, n, partial(of_a_loss, forward, n)
        for name in STUDENTS:
            for beside in BESIDE:
                if n <= MOST_OF_PAIRS or beside != "G-CRD":
                    label = f"a step of {'an MLP' if name == 'MLP' else 'a GCN'}, KD + {beside}"
                    yield label, n, partial(of_a_student, name, beside, n)


def run(label: str, n: int, build: Callable[[], tuple], budget: float) -> dict[str, Any]:
    torch._dynamo.reset()
    plain, compiled = build()
    begin = time.perf_counter()
    compiled()
    first = time.perf_counter() - begin
    times = measure.interleave({"plain": plain, "compiled": compiled}, budget, "cpu", wall=False)
    ratios = [a / b for a, b in zip(times["plain"], times["compiled"], strict=True)]
    middle = {form: measure.spread(values)["median"] for form, values in times.items()}
    return {"label": label, "n": n, "speed": measure.spread(ratios), "first": first, **middle}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a smoke run; writes only to --out")
    parser.add_argument("--out", type=Path, help="default: results/compiled.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    # The first step compiles, whatever ran before.
    torch.compiler.config.force_disable_caches = True
    console, records = Console(highlight=False), []
    board = Table("step", "rows", "as it is", "compiled", "speed", "first step")
    for label, n, build in cases(args.quick):
        console.print(f"{label}, {n:,} rows ...")
        row = run(label, n, build, 0.05 if args.quick else SECONDS)
        records.append(row)
        milliseconds = (f"{1e3 * row[form]:.3g} ms" for form in ("plain", "compiled"))
        speed, first = f"{row['speed']['median']:.2f}", f"{row['first']:.0f} s"
        board.add_row(label, f"{n:,}", *milliseconds, speed, first)
    console.print(board)
    out = args.out or (None if args.quick else HERE / "results" / "compiled.json")
    if out:
        versions = {"python": platform.python_version(), "torch": torch.__version__}
        out.write_text(json.dumps({"versions": versions, "steps": records}, indent=1) + "\n")


if __name__ == "__main__":
    main()
