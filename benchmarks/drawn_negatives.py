"""How far G-CRD with a few drawn keys lies from the exact loss, on embeddings of real nodes.

    python benchmarks/drawn_negatives.py --root data    # ten minutes on one core

A two-layer GCN is the teacher, and an MLP on the nodes' own features the student, on the data set
of that name (Coauthor Physics unless given), its features reduced to 256 components. The rows are
the projected ones: before the first step of distillation, and after the last. For each number of
keys, it draws again and again, and compares value and gradient with those of all keys. Last come
the time and memory of a step with a million rows. One thread, process time; memory on Linux only.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import _measure as measure
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn.models import GCN

import graphkd
import graphkd.functional as G

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "examples"))

from study.data import problem  # noqa: E402
from study.files import SHORT  # noqa: E402

KEYS = (256, 1024, 4096, 16_384)
FEATURES, TEACHER, STUDENT, WIDTH, MILLION = 256, 128, 64, 64, 1_000_000


def reduced(data: Data) -> Data:
    """The data with the leading components of its features, of unit mean square."""
    left, size, _ = torch.svd_lowrank(data.x, q=min(FEATURES, *data.x.shape), niter=2)
    data.x = left * size
    data.x = data.x / data.x.square().mean().sqrt()
    return data


def trained_teacher(data: Data, classes: int, epochs: int) -> Tensor:
    body, head = GCN(data.num_features, TEACHER, 2, norm="batch_norm"), nn.Linear(TEACHER, classes)
    optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=0.01)
    for _ in range(epochs):
        z = head(body(data.x, data.edge_index))[data.train_mask]
        optimizer.zero_grad()
        F.cross_entropy(z, data.y[data.train_mask]).backward()
        optimizer.step()
    with torch.no_grad():
        h: Tensor = body.eval()(data.x, data.edge_index)
    return h


def projected_rows(data: Data, epochs: int) -> dict[str, tuple[Tensor, Tensor]]:
    """The projected rows of student and teacher, before and after distillation."""
    classes = int(data.y.max()) + 1
    h_t = trained_teacher(data, classes, epochs)
    body, head = (
        nn.Sequential(nn.Linear(data.num_features, STUDENT), nn.ReLU()),
        nn.Linear(STUDENT, classes),
    )
    distill = graphkd.GCRDLoss(STUDENT, TEACHER, WIDTH, num_negatives=1024)
    parameters = [*body.parameters(), *head.parameters(), *distill.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=0.01)

    def rows() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return distill.projected(body(data.x), h_t, None, None)[:2]

    found = {"before": rows()}
    for _ in range(epochs):
        h_s = body(data.x)
        task = F.cross_entropy(head(h_s)[data.train_mask], data.y[data.train_mask])
        optimizer.zero_grad()
        (task + distill(h_s, h_t)).backward()
        optimizer.step()
    return found | {"after": rows()}


def step(p: Tensor, q: Tensor, **options: Any) -> tuple[float, Tensor, float]:
    """The value, its gradient for the student's rows, and the seconds that both took."""
    begin, p = time.process_time(), p.clone().requires_grad_()
    value = G.gcrd_loss(p, q, **options)
    (gradient,) = torch.autograd.grad(value, p)
    return value.item(), gradient, time.process_time() - begin


def compared(p: Tensor, q: Tensor, draws: int) -> dict[str, Any]:
    exact, truth, seconds = step(p, q)
    result: dict[str, Any] = {"exact": exact, "seconds": seconds, "keys": {}}
    for keys in KEYS:
        generator = torch.Generator().manual_seed(0)
        found = [step(p, q, num_negatives=keys, generator=generator) for _ in range(draws)]
        values, gradients, times = zip(*found, strict=True)
        away = [float((g - truth).norm() / truth.norm()) for g in gradients]
        result["keys"][keys] = {
            "bias": statistics.fmean(values) - exact,
            "std": statistics.stdev(values),
            "gradient_error": statistics.fmean(x * x for x in away) ** 0.5,
            "seconds": statistics.median(times),
        }
    return result


def a_million(keys: int) -> dict[str, float]:
    """The time and memory of one step with a million rows, both sides learning."""
    torch.manual_seed(0)
    p, q = (torch.randn(MILLION, WIDTH, requires_grad=True) for _ in range(2))
    taken = []

    def once() -> None:
        begin = time.process_time()
        loss = graphkd.GCRDLoss(WIDTH, WIDTH, head=(nn.Identity(),) * 2, num_negatives=keys)
        loss(p, q).backward()
        taken.append(time.process_time() - begin)

    peak = measure.peak_rise(once, "cpu")
    return {"seconds": taken[0], "peak_mib": peak}


def apart(keys: int) -> Any:
    """``a_million`` in a fresh process, whose peak nothing else has raised."""
    command = [sys.executable, "-W", "ignore", __file__, "--child", str(keys)]
    env = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=HERE / "results" / "drawn_negatives.json")
    parser.add_argument("--dataset", choices=SHORT, default="Physics")
    parser.add_argument("--root", default="data", help="as in the examples")
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    if args.child:
        print(json.dumps(a_million(args.child)))
        return
    data = reduced(problem(args.dataset, args.root, 0).learn[0])
    stages = {
        name: compared(p, q, args.draws)
        for name, (p, q) in projected_rows(data, args.epochs).items()
    }
    report = {
        "machine": {"processor": platform.machine(), "threads": 1},
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "flags": {"dataset": args.dataset, "draws": args.draws, "epochs": args.epochs},
        "sizes": {"rows": data.num_nodes, "width": WIDTH, "million": MILLION},
        "stages": stages,
        "million": {keys: apart(keys) for keys in KEYS[:2]},
    }
    args.out.write_text(json.dumps(report, indent=1) + "\n")
    for name, stage in stages.items():
        title = f"{name}: exact {stage['exact']:.4f}, {stage['seconds']:.1f} s"
        shown = Table("keys", "bias", "std", "gradient's error", "time", title=title)
        for keys, row in stage["keys"].items():
            errors = (row[key] for key in ("bias", "std", "gradient_error"))
            shown.add_row(str(keys), *(f"{x:.2g}" for x in errors), f"{row['seconds']:.2f} s")
        Console().print(shown)


if __name__ == "__main__":
    main()
