"""How far values and gradients are from float64 truth, by backend and by precision of the inputs.

    python benchmarks/accuracy.py            # some two minutes
    python benchmarks/accuracy.py --triton   # few rows, the Triton programs in triton's interpreter
    python benchmarks/accuracy.py --quick    # fewer rows and seeds; writes only to --out

Truth is the reference backend in float64, on the inputs rounded to the precision. An error is the
norm of the difference relative to the truth's norm, as root mean square over seeds. Plain torch is
measured beside the backends: the naive form of benchmarks/naive.py in the precision of the inputs.
With a CUDA device all of it runs there.
"""

import argparse
import json
import math
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _contenders import LOSSES, Loss
from _peers import Inputs
from rich.console import Console
from rich.progress import track
from torch import Tensor

import graphkd

HERE = Path(__file__).resolve().parent
SCENARIOS = ("independent", "converged", "rotated", "biased")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
WIDTH, EDGES_PER_NODE = 64, 8
CONVERGED_LOSS = 1e-8
NAMES = [name for name, loss in LOSSES.items() if not loss.both_learn]

Function = Callable[[Inputs], Tensor]


def options_of(name: str, scenario: str) -> dict[str, Any]:
    """G-CRD's least value depends on the temperature; this one makes it small enough."""
    return {"temperature": 0.03} if "gcrd" in name and scenario == "converged" else {}


def truth_of(loss: Loss, options: dict[str, Any]) -> Function:
    return lambda x: loss.ours(x, **options, **({"backend": "reference"} if loss.work else {}))


def ways(loss: Loss, options: dict[str, Any], triton: bool, device: str) -> dict[str, Function]:
    """The forms to judge: the naive form and the backends."""
    everyone: dict[str, Function] = {"plain torch": lambda x: loss.naive(*x.plain, **options)}
    if not loss.work:
        return everyone | {"graphkd": loss.ours}
    for backend in ("reference", "chunked", *(["triton"] if triton else [])):
        everyone[backend] = lambda x, b=backend: loss.ours(x, backend=b, **options)
    # The interpreter has no tensor cores to imitate.
    for precision in loss.precisions if triton and device == "cuda" else ():
        everyone[f"triton, {precision}"] = lambda x, p=precision: loss.ours(
            x, backend="triton", precision=p, **options
        )
    return everyone


def draw(name: str, scenario: str, n: int, seed: int, device: str) -> Inputs:
    """Inputs in float64."""
    torch.manual_seed(seed)
    h_s, h_t = torch.randn(2, n, WIDTH, dtype=torch.float64).unbind()
    edge_index = graph = None
    if name.startswith("lsp"):
        edge_index = torch.randint(0, n, (2, EDGES_PER_NODE * n)).to(device)
        graph = graphkd.Graph(edge_index, n)

    def inputs(s: Tensor, t: Tensor) -> Inputs:
        return Inputs(s.to(device), t.to(device), edge_index, graph)

    if scenario == "converged":
        noise, size = torch.randn_like(h_s), 1e-3
        if "gcrd" not in name:  # the others are quadratic in a small distance
            far = truth_of(LOSSES[name], {})(inputs(h_s, h_s + size * noise))
            size *= math.sqrt(CONVERGED_LOSS / float(far))
        h_t = h_s + size * noise
    elif scenario == "rotated":
        rotation = torch.linalg.qr(torch.randn(WIDTH, WIDTH, dtype=torch.float64)).Q
        h_t = h_s @ rotation + 1e-3 * torch.randn_like(h_s)
    elif scenario == "biased":
        h_s, h_t = h_s + 30, h_t + 30
    return inputs(h_s, h_t)


def value_and_gradient(f: Function, x: Inputs, dtype: torch.dtype, scale: float = 1.0) -> Any:
    """Both in float64, whatever computed them; scaled meanwhile so that no gradient underflows."""
    h_s = x.h_s.detach().to(dtype).requires_grad_()
    value = f(Inputs(h_s, x.h_t.to(dtype), x.edge_index, x.graph)) * scale
    (gradient,) = torch.autograd.grad(value, h_s)
    return value.detach().double() / scale, gradient.double() / scale


def relative_error(value: Tensor, truth: Tensor) -> float:
    return float((value - truth).norm() / truth.norm())


def root_mean_square(values: list[float]) -> float | None:
    result = math.sqrt(sum(value * value for value in values) / len(values))
    return result if math.isfinite(result) else None


def judge(
    name: str, scenario: str, dtype: torch.dtype, n: int, seeds: int, triton: bool, device: str
) -> dict[str, Any]:
    loss, options = LOSSES[name], options_of(name, scenario)
    errors: dict[str, tuple[list[float], list[float]]] = {}
    values = []
    for seed in range(seeds):
        x = draw(name, scenario, n, seed, device)
        x = Inputs(x.h_s.to(dtype), x.h_t.to(dtype), x.edge_index, x.graph)
        truth = value_and_gradient(truth_of(loss, options), x, torch.float64)
        values.append(float(truth[0]))
        scale = 1 / float(truth[1].abs().max())
        for way, function in ways(loss, options, triton, device).items():
            got = value_and_gradient(function, x, dtype, scale)
            for seen, a, b in zip(errors.setdefault(way, ([], [])), got, truth, strict=True):
                seen.append(relative_error(a, b))
    return {
        "truth": sum(values) / seeds,
        "errors": {
            way: dict(zip(("value", "gradient"), map(root_mean_square, both), strict=True))
            for way, both in errors.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--triton", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, help="default: results/accuracy*.json")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    device, triton = args.device, args.triton or args.device == "cuda"
    interpreted = triton and device == "cpu"
    if interpreted:
        os.environ["TRITON_INTERPRET"] = "1"
    n, seeds = (64, 2) if args.quick else (64 if interpreted else 512, 8)
    torch.backends.cuda.matmul.allow_tf32 = False
    kind = "_triton" if interpreted else "" if device == "cpu" else f"_{device}"
    out = args.out or (None if args.quick else HERE / "results" / f"accuracy{kind}.json")
    cells = [(d, s, name) for d in DTYPES for s in SCENARIOS for name in NAMES]
    errors: dict[str, Any] = {d: {s: {} for s in SCENARIOS} for d in DTYPES}
    for dtype, scenario, name in track(cells, "errors"):
        errors[dtype][scenario][name] = judge(
            name, scenario, DTYPES[dtype], n, seeds, triton, device
        ) | {"label": LOSSES[name].label}
    report = {
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "interpreted": interpreted,
        "versions": {"torch": torch.__version__, "graphkd": graphkd.__version__},
        "sizes": {"nodes": n, "width": WIDTH, "edges": EDGES_PER_NODE * n, "seeds": seeds},
        "errors": errors,
    }
    if out:
        out.write_text(json.dumps(report, indent=1) + "\n")
    worst = max(
        (row["errors"]["chunked"]["value"] or math.inf, name, scenario)
        for scenario, rows in errors["float32"].items()
        for name, row in rows.items()
        if "chunked" in row["errors"]
    )
    Console().print(f"largest error of a float32 value, chunked: {worst[0]:.1e} ({worst[1:]})")


if __name__ == "__main__":
    main()
