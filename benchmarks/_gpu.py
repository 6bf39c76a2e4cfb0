"""The cases of ``gpu.py``: the check of every Triton program, and time and memory of a step."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import _measure as measure
import torch
import torch.nn.functional as F
from _cases import ARXIV_EDGES, ARXIV_NODES, Case, draw
from _contenders import LOSSES
from _peers import INF_CL, Contender, Forward, Inputs, missing
from torch import Tensor

from graphkd.graph import sort_edges
from graphkd.ops import reference
from graphkd.similarity import KERNELS

PRECISIONS = ("float32", "tf32", "bf16")
BOUNDS = {"float32": 2e-6, "tf32": 3e-3, "bf16": 1e-2}  # of the errors relative to float64
ROUNDS, SECONDS = 15, 1.5


class Unit(NamedTuple):
    """One case: a check of a program, or a loss by one way at one size."""

    kind: str
    name: str
    way: str
    precision: str = "float32"
    n: int = 0
    d: int = 0
    edges: int = 0

    def __str__(self) -> str:
        size = f" N = {self.n:,} d = {self.d}" if self.kind == "time" else ""
        return f"{self.name} {self.way} {self.precision}{size}"


def checks(dry: bool) -> list[Unit]:
    ways = [("infonce", way) for way in ("one way", "symmetric")]
    ways += [(name, kernel) for name in ("pairwise", "edges") for kernel in KERNELS]
    return [
        Unit("check", name, way, precision, 40 if dry else 300)
        for name, way in ways
        for precision in PRECISIONS
        if precision == "float32" or name == "infonce" or (name, way) == ("pairwise", "poly")
    ]


def timed(dry: bool) -> list[Unit]:
    sizes = [
        *(("gcrd", n, d, 0) for n in (16_384, 65_536, ARXIV_NODES) for d in (256, 512)),
        *((f"global_lsp_{kernel}", 16_384, 256, 0) for kernel in ("poly", "rbf", "l2")),
        ("global_lsp_poly", 65_536, 256, 0),
        ("global_lsp_cosine", ARXIV_NODES, 256, 0),
        *((f"lsp_{kernel}", ARXIV_NODES, 128, ARXIV_EDGES) for kernel in ("cosine", "rbf")),
        ("gcrd_both", 16_384, 256, 0),
        ("gcrd_both", 65_536, 256, 0),
    ]
    if dry:
        sizes = [("gcrd", 40, 24, 0), ("lsp_cosine", 40, 24, 120)]
    units = []
    for name, n, d, edges in sizes:
        ways = ["chunked", "triton", "naive", "compiled", *(["inf-cl"] if "both" in name else [])]
        # Programs for edges and distances have one precision, and so have gathers and inf-cl.
        rough = {"triton"} if LOSSES[name].precisions else set()
        rough |= {"chunked", "naive", "compiled"} if LOSSES[name].bound == "gemm" else set()
        if name == "global_lsp_cosine":
            ways.remove("triton")  # it runs by moments, and has no programs
        units += [
            Unit("time", name, way, precision, n, d, edges)
            for way in ways
            for precision in PRECISIONS
            if precision == "float32" or way in rough
        ]
    # What decides comes first; compilation takes longest, and decides nothing.
    return sorted(units, key=lambda x: (x.way == "compiled", PRECISIONS.index(x.precision)))


def outcome(function: Callable[..., Tensor], a: Tensor, b: Tensor) -> list[Tensor]:
    """Values and both gradients, under an upstream gradient that differs by row."""
    a, b = a.detach().requires_grad_(), b.detach().requires_grad_()
    values = function(a, b)
    upstream = torch.linspace(-1, 2, values.numel(), dtype=values.dtype, device=values.device)
    return [values.detach(), *torch.autograd.grad(values, (a, b), upstream)]


def error(got: list[Tensor], truth: list[Tensor]) -> float:
    """The largest of the errors of values and gradients; NaN is 1e30, as JSON has no infinity."""
    each = [float((x - y).norm() / (y.norm() + 1e-6)) for x, y in zip(got, truth, strict=True)]
    return max(min(x, 1e30) if x == x else 1e30 for x in each)


def forms(unit: Unit, width: int, device: str) -> tuple[Callable, Callable, Tensor, Tensor]:
    """The plain form and the program of a check, and rows of this width for both."""
    from graphkd.ops import triton as programs

    a, b = torch.randn(2, unit.n, width, device=device).div_(width**0.5).unbind()
    if unit.name == "infonce":
        a, b, more = F.normalize(a), F.normalize(b), F.normalize(a[:19] + b[-19:])
        name = "infonce" if unit.way == "one way" else "symmetric_infonce"

        def plain(p: Tensor, q: Tensor) -> Tensor:
            return getattr(reference, name)(p, q, more.to(p.dtype), None, 0.1)

        def ours(p: Tensor, q: Tensor) -> Tensor:
            return getattr(programs, name)(p, q, more, None, 0.1, unit.precision)

        return plain, ours, a, b
    kernel, gamma = KERNELS[unit.way], torch.tensor(0.3, device=device)
    if unit.name == "pairwise":

        def plain(s: Tensor, t: Tensor) -> Tensor:
            return reference.pairwise_gap(s, t, kernel, gamma, gamma, loss="")

        def ours(s: Tensor, t: Tensor) -> Tensor:
            return programs.pairwise_gap(s, t, kernel, gamma, gamma, unit.precision)

        return plain, ours, a, b[:, : width // 2 + 1]
    ends = (torch.rand(2, 9 * unit.n, device=device) ** 3 * unit.n).long()
    edges = sort_edges(ends[0], ends[1], unit.n, unit.n)

    def plain(s: Tensor, t: Tensor) -> Tensor:
        return reference.edge_similarity(s, t, edges, kernel, gamma, loss="")

    def ours(s: Tensor, t: Tensor) -> Tensor:
        return programs.edge_similarity(s, t, edges, kernel, gamma)

    return plain, ours, a, b


def check(unit: Unit, device: str, dry: bool) -> dict[str, Any]:
    """The largest error of a program relative to float64, over some widths, and what is allowed."""
    worst = {"error": 0.0, "allowed": 0.0, "right": True}
    for width in (24,) if dry else (20, 256):
        plain, ours, a, b = forms(unit, width, device)
        truth = outcome(plain, a.double(), b.double())
        allowed = max(4 * error(outcome(plain, a, b), truth), BOUNDS[unit.precision])
        found = error(outcome(ours, a, b), truth)
        worst["right"] = worst["right"] and found <= allowed
        if found >= worst["error"]:
            worst |= {"error": found, "allowed": allowed, "width": width}
    return worst


@contextmanager
def torch_precision(unit: Unit, device: str) -> Iterator[None]:
    """The precision of torch's own products: its tf32 switch, or autocast for bf16."""
    torch.backends.cuda.matmul.allow_tf32 = unit.precision == "tf32"
    with torch.autocast(device, torch.bfloat16, enabled=unit.precision == "bf16"):
        yield


def contender(unit: Unit, dry: bool) -> Contender:
    loss = LOSSES[unit.name]
    if unit.way == "inf-cl":
        return INF_CL["inf-cl"]
    if unit.way in ("naive", "compiled"):
        # The compiler for CPUs takes longer than a dry run should.
        how = {"backend": "aot_eager" if dry else "inductor", "dynamic": False}
        form = torch.compile(loss.naive, **how) if unit.way == "compiled" else loss.naive
        return Contender(lambda x: lambda: form(*x.plain), loss.naive_needs)
    options = {"backend": unit.way}
    if unit.way == "triton" and unit.precision != "float32":
        options["precision"] = unit.precision
    return Contender(lambda x: lambda: loss.ours(x, **options))


def timing(unit: Unit, device: str, dry: bool) -> dict[str, Any]:
    """Time, memory, value and gradient of a step."""
    one, case = contender(unit, dry), Case(unit.name, unit.n, unit.d, unit.edges)
    if reason := missing(one):
        return {"skipped": reason}
    if (needed := one.needs(case.size)) > 0.9 * measure.available_bytes(device):
        return {"skipped": f"would need some {needed / 2**30:.0f} GiB"}
    inputs = draw(case, device)
    with torch_precision(unit, device):
        forward = one.prepare(inputs)
        begin = time.perf_counter()
        value, gradient = first_step(forward, inputs)
        first = time.perf_counter() - begin
        step = measure.stepper(forward, inputs)
        mib, times, begin = measure.peak_rise(step, device), [], time.perf_counter()
        while not times or (
            len(times) < (1 if dry else ROUNDS) and time.perf_counter() - begin < SECONDS
        ):
            times.append(measure.seconds(step, 1, device, wall=False))
    return {
        "seconds": statistics.median(times),
        "rounds": len(times),
        "first_seconds": first,
        "peak_mib": mib,
        "value": value,
        "gradient": gradient,
    }


def first_step(forward: Forward, inputs: Inputs) -> tuple[float, float]:
    """The value and the norm of the student's gradient."""
    loss = forward()
    (gradient,) = torch.autograd.grad(loss, inputs.h_s)
    return float(loss), float(gradient.double().norm())
