"""Run cases on several processes that talk by gloo, and collect the errors of every rank."""

import datetime
import os
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

Case = Callable[["Part"], None]
# A rank that waits for another without an answer fails after this many seconds.
PATIENCE = 20
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    """Add a case to the table."""
    CASES[function.__name__] = function
    return function


def doubles(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


class Part:
    """The view of a case: the group, and this rank's part of rows that every rank knows."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        self.group, self.rank, self.world = group, group.rank(), group.size()

    def layouts(self, n: int) -> Iterator[list[int]]:
        """How many of ``n`` rows each rank has: even, uneven, and with a rank without rows."""
        first, world = n // self.world, self.world
        yield [first] * (world - 1) + [n - first * (world - 1)]
        yield [n - 1 - (world - 2), *[1] * (world - 1)]
        yield [0, n] if world == 2 else [n - 4, 0, *[4 // (world - 2)] * (world - 2)]

    def rows(self, layout: list[int]) -> slice:
        start = sum(layout[: self.rank])
        return slice(start, start + layout[self.rank])

    def check(
        self,
        expected: Callable[..., Tensor],
        shared: Callable[..., Tensor],
        whole: list[Tensor],
        layout: list[int],
        factor: float | None = None,
        tolerance: float = 1e-10,
    ) -> None:
        """Compare the value and the gradients for each of the ``whole`` rows with one process."""
        mine = [x[self.rows(layout)].clone().requires_grad_() for x in whole]
        whole = [x.clone().requires_grad_() for x in whole]
        value, one = shared(*mine), expected(*whole)
        torch.testing.assert_close(value, one, rtol=tolerance, atol=tolerance)
        (3 * value).backward()
        (3 * one).backward()
        for x, all_rows in zip(mine, whole, strict=True):
            truth = all_rows.grad[self.rows(layout)] * (self.world if factor is None else factor)
            torch.testing.assert_close(x.grad, truth, rtol=tolerance, atol=tolerance)


def _work(rank: int, world: int, folder: str, cases: dict[str, Case]) -> None:
    torch.set_num_threads(1)
    patience = datetime.timedelta(seconds=PATIENCE)
    store = f"file://{folder}/store"
    dist.init_process_group(
        "gloo", init_method=store, rank=rank, world_size=world, timeout=patience
    )
    said = {}
    for name, case in cases.items():
        # A group of its own, so that a case which fails on one rank leaves the others alone.
        group = dist.new_group(timeout=patience)
        torch.manual_seed(0)
        try:
            case(Part(group))
        except Exception:
            said[name] = traceback.format_exc()
    torch.save(said, Path(folder) / f"{rank}.pt")
    # A group with a failed case may not shut down cleanly.
    os._exit(0)


def run_cases(world: int, cases: dict[str, Case]) -> dict[str, str]:
    """The errors of each case that failed, on all ranks."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_work, (world, folder, cases), nprocs=world)
        errors: dict[str, str] = {}
        for rank in range(world):
            for name, error in torch.load(Path(folder) / f"{rank}.pt").items():
                errors[name] = errors.get(name, "") + f"\nrank {rank}: {error}"
        return errors
