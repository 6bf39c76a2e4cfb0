"""How the benchmarks measure: interleaved times, peaks of the same run, and memory.

On a CPU, time is process time (or wall time), and memory is the rise of the peak resident size of a
fresh process (Linux). On CUDA, time is between two events, and memory is the rise of
torch.cuda.max_memory_allocated.
"""

import ctypes
import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from _peers import Forward, Inputs
from torch import Tensor

SAMPLE_SECONDS = 0.02
LEAST, MOST = 3, 25
_GEMM, _COPY = 2048, 2**26

Step = Callable[[], object]  # its result does not matter for the time


def stepper(forward: Forward, inputs: Inputs) -> Callable[[], Tensor]:
    """Forward and backward, leaving no gradient behind; gives the loss."""

    def step() -> Tensor:
        loss = forward()
        loss.backward()
        inputs.h_s.grad = inputs.h_t.grad = None
        return loss.detach()

    return step


def seconds(step: Step, times: int, device: str, wall: bool) -> float:
    """The mean time of a step, over this many in a row."""
    if device == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(times):
            step()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1e3 / times
    clock = time.perf_counter if wall else time.process_time
    begin = clock()
    for _ in range(times):
        step()
    return (clock() - begin) / times


def interleave(steps: dict[str, Step], budget: float, device: str, wall: bool) -> dict[str, list]:
    """Round after round over all steps, each warm; as many rounds as the budget allows."""
    repeats = {}
    for name, step in steps.items():
        once = seconds(step, 1, device, wall)
        repeats[name] = max(1, math.ceil(SAMPLE_SECONDS / max(once, 1e-6)))
    times: dict[str, list[float]] = {name: [] for name in steps}
    names, begin = list(steps), time.perf_counter()
    gc.collect()
    gc.disable()
    try:
        for turn in range(MOST):
            if turn >= LEAST and time.perf_counter() - begin > budget:
                break
            # The first step changes, so that no step always meets the same cache contents.
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                times[name].append(seconds(steps[name], repeats[name], device, wall))
    finally:
        gc.enable()
    return times


def spread(values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": middle, "low": low, "high": high}


def peaks(bound: str, dtype: str, device: str) -> dict[str, tuple[Step, float]]:
    """Steps that run at the machine's rate, and their work: matrix products, or a copy."""
    if bound == "copy":
        source = torch.ones(_COPY // 4, device=device)
        target = torch.empty_like(source)
        return {"copy": (lambda: target.copy_(source), 2.0 * _COPY)}
    kinds = ["float32", "tf32", "bf16"] if device == "cuda" and dtype == "float32" else [dtype]
    return {f"gemm, {kind}": (_gemm(kind, device), 2.0 * _GEMM**3) for kind in kinds}


def _gemm(kind: str, device: str) -> Step:
    dtype = {"float64": torch.float64, "bf16": torch.bfloat16}.get(kind, torch.float32)
    a = torch.randn(_GEMM, _GEMM, device=device, dtype=dtype)
    out = torch.empty_like(a)

    def step() -> None:
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
        torch.mm(a, a, out=out)
        torch.backends.cuda.matmul.allow_tf32 = before

    return step


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def available_bytes(device: str) -> float:
    if device == "cuda":
        return torch.cuda.mem_get_info()[0]
    return _proc("/proc/meminfo", "MemAvailable:")


def peak_rise(step: Step, device: str) -> float:
    """MiB by which a step raises the memory peak of its process."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    # Memory that earlier work has freed goes back first; a step would take it up unseen.
    if hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak to the current size
    before = _proc("/proc/self/status", "VmHWM:")
    step()
    return (_proc("/proc/self/status", "VmHWM:") - before) / 2**20


def _proc(path: str, field: str) -> int:
    return 1024 * int(Path(path).read_text().split(field)[1].split()[0])
