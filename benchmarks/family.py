"""The cost of the losses beyond the paper's six: on 20,000 nodes, and against their plain forms.

    python benchmarks/family.py            # some ten minutes

First, each loss runs once in its default form, as a function (without heads), forward and
backward, in a process of its own. Memory is the rise of that process's peak resident size, gradient
included. Then each loss with a plain form in a few lines of PyTorch takes turns with it, on one
thread in process time. Ratios are taken turn by turn. The result also says whether both compute the
same. Linux only.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import _measure as measure
import torch
from _family import PLAIN, STEPS, Inputs, make_inputs
from rich.console import Console
from torch import Tensor

HERE = Path(__file__).resolve().parent
NODES, WIDTH = 20_000, 128


def stepper(loss: Any, inputs: Inputs) -> Any:
    def step() -> Tensor:
        value = loss()
        value.backward()
        inputs.h_s.grad = None
        return value.detach()

    return step


def peak(kind: str, name: str, form: str) -> dict[str, float]:
    """Memory and time of one step in this process, after a small one that loads everything."""
    torch.set_num_threads(1)
    nodes, loss = NODES, STEPS.get(name)
    if kind == "plain":
        nodes, forms = PLAIN[name]
        loss = forms[form]
    inputs = [make_inputs(64, WIDTH), make_inputs(nodes, WIDTH)]
    warm, step = (stepper(partial(loss, x), x) for x in inputs)
    warm()
    mib = measure.peak_rise(step, "cpu")
    return {"peak_mib": mib, "seconds": measure.seconds(step, 1, "cpu", wall=False)}


def in_a_process(*arguments: str) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", __file__, "--child", *arguments]
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    return json.loads(done.stdout)


def against_plain(name: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    nodes, forms = PLAIN[name]
    inputs = make_inputs(nodes, WIDTH)
    steps = {form: stepper(partial(loss, inputs), inputs) for form, loss in forms.items()}
    ours, plain = (float(steps[form]()) for form in ("graphkd", "plain"))
    times = measure.interleave(steps, budget=20, device="cpu", wall=False)
    ratios = [b / a for a, b in zip(times["graphkd"], times["plain"], strict=True)]
    memory = {form: in_a_process("plain", name, form)["peak_mib"] for form in steps}
    return {
        "nodes": nodes,
        "speedup": measure.spread(ratios),
        "peak_mib": memory,
        "difference": abs(ours - plain) / abs(plain),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "family.json")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(peak(*args.child)))
        return
    console, losses, plain = Console(highlight=False), {}, {}
    for name in STEPS:
        losses[name] = row = in_a_process("default", name, "graphkd")
        console.print(f"{name}: {row['seconds']:.1f} s, {row['peak_mib']:,.0f} MiB")
    for name in PLAIN:
        plain[name] = row = against_plain(name)
        memory = row["peak_mib"]
        console.print(
            f"{name}, N = {row['nodes']:,}: {row['speedup']['median']:.2f}× the speed of "
            f"its plain form, {memory['graphkd']:.0f} against {memory['plain']:.0f} MiB"
        )
    report = {
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "sizes": {"nodes": NODES, "width": WIDTH},
        "losses": losses,
        "plain": plain,
    }
    args.out.write_text(json.dumps(report, indent=1) + "\n")
    console.print(f"Written: {args.out.name}")


if __name__ == "__main__":
    main()
