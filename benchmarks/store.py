"""The cost and gain of a TeacherStore: building, reading, and an epoch with and without a teacher.

    python benchmarks/store.py         # two minutes

The graph is generated: a ring in which each node has ten neighbours nearby. Batches are the exact
three-hop neighbourhoods of 1,024 seeds, cut beforehand, so that the teacher of three layers gives
the full graph's rows, no sampler is needed, and no time for sampling is counted.

Everything runs on one thread. Times are process time: medians, and quartiles where turns are
compared. Cold reads wait for the disk, so that their time is wall time. For builds, the smallest
wall time of three is given too. "Cold" is after the pages were dropped from the cache (on Linux).
"First" is with the pages in the cache, while each block must still be checked.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from _measure import interleave, spread
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.nn import GraphSAGE
from torch_geometric.utils import k_hop_subgraph

from graphkd import GCRDLoss, KDLoss, Tap, TeacherStore, freeze

HERE = Path(__file__).resolve().parent
NODES, FEATURES, WIDTH, CLASSES, LAYERS = 65_536, 64, 256, 40, 3
BATCH, STUDENT_WIDTH, EPOCH = 1024, 64, 8  # few batches an epoch, because only ratios count
MIB_PER_ROW = (WIDTH + CLASSES) * 2 / 2**20


def graph() -> Data:
    generator = torch.Generator().manual_seed(0)
    centre = torch.arange(NODES).repeat_interleave(10)
    step = torch.randint(-1000, 1001, (10 * NODES,), generator=generator)
    return Data(
        x=torch.randn(NODES, FEATURES, generator=generator),
        edge_index=torch.stack([(centre + step) % NODES, centre]),
        y=torch.randint(CLASSES, (NODES,), generator=generator),
    )


def exact_batches(data: Data) -> list[Data]:
    """The whole neighbourhood of each group of seeds, the seeds first."""
    batches = []
    for seeds in torch.arange(NODES).split(BATCH):
        n_id, edge_index, rows, _ = k_hop_subgraph(
            seeds, LAYERS, data.edge_index, relabel_nodes=True
        )
        order = torch.argsort(torch.ones(len(n_id)).index_fill(0, rows, 0.0), stable=True)
        place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))
        batches.append(
            Data(
                x=data.x[n_id[order]],
                edge_index=place[edge_index],
                n_id=n_id[order],
                y=data.y[seeds],
                batch_size=len(seeds),
            )
        )
    return batches


def rate(build: Callable[[Path], TeacherStore], repeats: int = 3) -> dict[str, float]:
    """Rows and MiB a second of whole builds, and their wall time with the fsync at the end."""
    times, walls = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            begin, wall = time.process_time(), time.perf_counter()
            build(Path(folder) / "store").close()
            times.append(time.process_time() - begin)
            walls.append(time.perf_counter() - wall)
    seconds = statistics.median(times)
    return {
        "seconds": seconds,
        "least_wall_seconds": min(walls),
        "rows_per_second": NODES / seconds,
        "mib_per_second": NODES * MIB_PER_ROW / seconds,
    }


def builds(data: Data, teacher: torch.nn.Module, batches: list[Data]) -> dict[str, dict]:
    """Builds with the teacher, and with its outputs at hand, which shows the store's own cost."""
    h = torch.randn(NODES, WIDTH)
    z = h[:, :CLASSES].contiguous()

    def slices(ids: Tensor) -> list[Data]:
        return [Data(n_id=part, num_nodes=len(part)) for part in ids.split(BATCH)]

    def at_hand(ids: Tensor) -> Callable[[Path], TeacherStore]:
        return lambda path: TeacherStore.build(
            path, teacher, slices(ids), tap=None, progress=False, num_nodes=NODES,
            forward=lambda model, batch: (h[batch.n_id], z[batch.n_id]),
        )  # fmt: skip

    def live(source: object) -> Callable[[Path], TeacherStore]:
        return lambda path: TeacherStore.build(path, teacher, source, progress=False)

    return {
        "teacher, full graph": rate(live(data)),
        "teacher, batches": rate(live(batches)),
        "store alone, ids in order": rate(at_hand(torch.arange(NODES))),
        "store alone, ids at random": rate(at_hand(torch.randperm(NODES))),
    }


def drop_from_cache(store: TeacherStore) -> None:
    for file in store.path.glob("*.bin"):
        descriptor = os.open(file, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def reads(path: Path) -> dict[str, dict]:
    """Batches of random rows: cold, first and warm, beside tensors in memory."""
    order = torch.randperm(NODES).split(BATCH)
    times: dict[str, list[float]] = {"cold": [], "first": []}
    for _ in range(5):
        for name, seen in times.items():
            clock = time.perf_counter if name == "cold" else time.process_time
            with TeacherStore.open(path) as store:
                if name == "cold" and hasattr(os, "posix_fadvise"):
                    drop_from_cache(store)
                begin = clock()
                for ids in order:
                    _ = store[ids]
                seen.append((clock() - begin) / len(order))
    with TeacherStore.open(path) as store:
        h, z = store[:]
        turn = [0]

        def next_ids() -> Tensor:
            turn[0] = (turn[0] + 1) % len(order)
            return order[turn[0]]

        def indexed() -> tuple[Tensor, Tensor]:
            ids = next_ids()
            return h[ids], z[ids]

        def selected() -> tuple[Tensor, Tensor]:
            ids = next_ids()
            return h.index_select(0, ids), z.index_select(0, ids)

        steps = {
            "warm": lambda: store[next_ids()],
            "in memory, advanced indexing": indexed,
            "in memory, index_select": selected,
        }
        times |= interleave(steps, budget=5.0, device="cpu", wall=False)
    return {
        name: {
            "microseconds": {k: 1e6 * v for k, v in spread(seen).items()},
            "mib_per_second": BATCH * MIB_PER_ROW / statistics.median(seen),
        }
        for name, seen in times.items()
    }


def epochs(batches: list[Data], teacher: torch.nn.Module, path: Path) -> dict[str, object]:
    """One epoch of a student by G-CRD and KD, with rows from the teacher or from the store."""
    torch.manual_seed(0)
    student = GraphSAGE(FEATURES, STUDENT_WIDTH, num_layers=2, out_channels=CLASSES)
    gcrd, kd = GCRDLoss(STUDENT_WIDTH, WIDTH), KDLoss()
    optimizer = torch.optim.Adam([*student.parameters(), *gcrd.parameters()], lr=1e-3)
    store = TeacherStore.open(path)
    student_tap, teacher_tap = Tap(student, "convs.0"), Tap(teacher, "convs.1")

    def live(batch: Data) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            z = teacher(batch.x, batch.edge_index)
        return teacher_tap.value[: batch.batch_size], z[: batch.batch_size]

    def stored(batch: Data) -> tuple[Tensor, Tensor]:
        return store[batch.n_id[: batch.batch_size]]

    def epoch(rows: Callable[[Data], tuple[Tensor, Tensor]] | None) -> None:
        for batch in batches[:EPOCH]:
            seeds = slice(batch.batch_size)
            z_s = student(batch.x, batch.edge_index)[seeds]
            loss = F.cross_entropy(z_s, batch.y)
            if rows is not None:
                h_t, z_t = rows(batch)
                loss = loss + 0.05 * gcrd(student_tap.value[seeds], h_t) + kd(z_s, z_t)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    batch = batches[0]
    difference = max((a - b).abs().max() for a, b in zip(live(batch), stored(batch), strict=True))
    steps = {
        "live teacher": lambda: epoch(live),
        "store": lambda: epoch(stored),
        "no teacher, no distillation": lambda: epoch(None),
    }
    times = interleave(steps, budget=40.0, device="cpu", wall=False)
    ratios = [a / b for a, b in zip(times["live teacher"], times["store"], strict=True)]
    return {
        "seconds": {name: spread(seen) for name, seen in times.items()},
        "live_over_store": spread(ratios),
        "seeds": EPOCH * BATCH,
        "largest_difference": float(difference),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "store.json")
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    console, data = Console(), graph()
    batches = exact_batches(data)
    teacher = freeze(GraphSAGE(FEATURES, WIDTH, num_layers=LAYERS, out_channels=CLASSES))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store"
        TeacherStore.build(path, teacher, data, progress=False).close()
        report = {
            "machine": {"processor": platform.machine(), "threads": torch.get_num_threads()},
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
            "sizes": {
                "nodes": NODES, "h": WIDTH, "z": CLASSES, "layers": LAYERS, "batch": BATCH,
                "nodes_per_batch": sum(b.num_nodes for b in batches) / len(batches),
                "mib": NODES * MIB_PER_ROW, "dtype": "float16",
            },
            "build": builds(data, teacher, batches),
            "read": reads(path),
            "epoch": epochs(batches, teacher, path),
        }  # fmt: skip
    args.out.write_text(json.dumps(report, indent=1) + "\n")
    for title, unit in (("build", "rows_per_second"), ("read", "mib_per_second")):
        table = Table(title, unit.replace("_", " "), title=f"{NODES:,} nodes")
        for name, row in report[title].items():
            table.add_row(name, f"{row[unit]:,.0f}")
        console.print(table)
    console.print_json(json.dumps(report["epoch"]))


if __name__ == "__main__":
    main()
