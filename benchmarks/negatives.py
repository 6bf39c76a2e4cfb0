"""The cost of a queue of keys and of several positives in G-CRD, forward and backward.

    python benchmarks/negatives.py            # some three minutes on two cores

A queue should cost as much as the rectangular form with as many keys at hand (`extra_keys=`).
Several positives should cost little beyond the plain loss. The contenders take turns in one
process, on one thread in process time. Ratios are taken turn by turn. Memory is the rise of the
peak resident size over one step in a fresh process, gradient included. Linux only.
"""

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _measure as measure
import torch
import torch.nn.functional as F
from _peers import Inputs
from rich.console import Console
from rich.table import Table
from torch import Tensor

import graphkd
import graphkd.functional as G

HERE = Path(__file__).resolve().parent
BATCH, QUEUE, NODES, WIDTH, LABELS, PAIRS, TEMPERATURE = 1024, 65_536, 8192, 256, 40, 10, 0.075
Steps = dict[str, Callable[[], Tensor]]


def naive(p: Tensor, q: Tensor, positive: Tensor | None = None) -> Tensor:
    """The formula on the whole matrix of logits."""
    log_p = (F.normalize(p) @ F.normalize(q).T / TEMPERATURE).log_softmax(1)
    if positive is None:
        return -log_p.diagonal().mean()
    return -((log_p * positive).sum(1) / positive.sum(1)).mean()


def queue_steps(inputs: Inputs) -> Steps:
    """Both heads learn; the queue is full, and every batch has new ids."""
    loss = graphkd.GCRDLoss(WIDTH, WIDTH, WIDTH, head="linear")
    queued = graphkd.GCRDLoss(WIDTH, WIDTH, WIDTH, head="linear", queue_size=QUEUE)
    keys = F.normalize(torch.randn(QUEUE, WIDTH))
    batches = itertools.cycle(torch.randperm(10 * QUEUE).split(BATCH))
    while bool((queued.queue.ids < 0).any()):
        queued.queue.put(torch.randn(BATCH, WIDTH), next(batches))

    def by_hand() -> Tensor:
        q = loss.head_t(inputs.h_t)
        return naive(loss.head_s(inputs.h_s), torch.cat([q, keys]))

    return {
        "queue": lambda: queued(inputs.h_s, inputs.h_t, ids=next(batches)),
        "keys at hand": lambda: loss(inputs.h_s, inputs.h_t, extra_keys=keys),
        "naive": by_hand,
        "batch alone": lambda: loss(inputs.h_s, inputs.h_t),
    }


def positives_steps(inputs: Inputs) -> Steps:
    h_s, h_t = inputs.h_s, inputs.h_t
    labels = torch.arange(NODES) % LABELS
    pairs = torch.randint(0, NODES, (2, PAIRS * NODES))
    return {
        "plain": lambda: G.gcrd_loss(h_s, h_t),
        "labels": lambda: G.gcrd_loss(h_s, h_t, labels=labels),
        "pairs": lambda: G.gcrd_loss(h_s, h_t, positives=pairs),
        "naive, labels": lambda: naive(h_s, h_t, labels[:, None] == labels),
        "naive, plain": lambda: naive(h_s, h_t),
    }


SECTIONS: dict[str, tuple[int, str, Callable[[Inputs], Steps]]] = {
    "queue": (BATCH, "keys at hand", queue_steps),
    "positives": (NODES, "plain", positives_steps),
}


def prepare(section: str) -> Steps:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rows, _, steps = SECTIONS[section]
    h_s, h_t = torch.randn(rows, WIDTH, requires_grad=True), torch.randn(rows, WIDTH)
    inputs = Inputs(h_s, h_t)
    return {name: measure.stepper(step, inputs) for name, step in steps(inputs).items()}


def memory(section: str, name: str) -> float:
    command = [sys.executable, "-W", "ignore", __file__, "--child", section, name]
    env = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    return float(done.stdout.splitlines()[-1])


def measured(section: str, budget: float) -> dict[str, Any]:
    steps, (_, base, _) = prepare(section), SECTIONS[section]
    times = measure.interleave(steps, budget, "cpu", wall=False)
    return {
        name: {
            "seconds": measure.spread(times[name]),
            "over_base": measure.spread(
                [a / b for a, b in zip(times[name], times[base], strict=True)]
            ),
            "peak_mib": memory(section, name),
        }
        for name in steps
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=HERE / "results" / "negatives.json")
    parser.add_argument("--budget", type=float, default=40.0, help="seconds for each section")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        section, name = args.child
        steps = prepare(section)
        print(measure.peak_rise(steps[name], "cpu"))
        return
    console = Console()
    sections = {name: measured(name, args.budget) for name in SECTIONS}
    sizes = {"batch": BATCH, "queue": QUEUE, "nodes": NODES, "width": WIDTH, "labels": LABELS}
    report = {
        "machine": {"processor": platform.machine(), "threads": 1},
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "sizes": {**sizes, "pairs": PAIRS * NODES},
        "sections": sections,
    }
    args.out.write_text(json.dumps(report, indent=1) + "\n")
    for name, rows in sections.items():
        shown = Table("form", "time", f"over {SECTIONS[name][1]}", "peak memory", title=name)
        for form, row in rows.items():
            time, ratio = row["seconds"]["median"], row["over_base"]["median"]
            shown.add_row(form, f"{time:.2f} s", f"{ratio:.2f}", f"{row['peak_mib']:,.0f} MiB")
        console.print(shown)


if __name__ == "__main__":
    main()
