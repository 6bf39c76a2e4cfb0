"""Every loss of the table stays below one GiB in its default form, on 20,000 nodes of width 128.

Functions and Modules run, with heads and memories. An N × N matrix takes 1.5 GiB, so that none can
hide. A large codebook, context or memory replaces a small one of the table.
"""

import os
import subprocess
import sys

import pytest
import torch

from tests.contract import LOSSES, Loss
from tests.rows.row import Options

NODES, WIDTH = 20_000, 128

# Linux forgets a process's peak when 5 is written to clear_refs.
MEASURE = """
import sys, torch
from pathlib import Path
from tests.contract import LOSSES
from tests.test_memory import NODES, WIDTH, large
torch.set_num_threads(1)
loss = next(loss for loss in LOSSES if loss.name == sys.argv[1])
def step(n, form):
    h_s, h_t, edge_index = loss.inputs(n=n, dims=(WIDTH, WIDTH), dtype=torch.float32)
    built, given = large(loss.name, n, form)
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_kib()
    if form == "Module":
        module = loss.build(WIDTH, WIDTH, **{**loss.variants[0], **built})
        value = loss.call_module(module, h_s, h_t, edge_index, **given)
    else:
        value = loss.call(h_s, h_t, edge_index, **given)
    value.backward()
    assert value.isfinite() and h_s.grad.isfinite().all()
    return peak_kib() - before
def peak_kib():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])
step(64, sys.argv[2])   # libraries and workspaces are loaded
print(step(NODES, sys.argv[2]))
"""


def large(name: str, nodes: int, form: str) -> tuple[Options, Options]:
    """Large arguments for building the Module and for the call, instead of the row's own."""
    if name == "crd":
        ids = {"ids": torch.arange(nodes)}
        if form == "Module":
            return {"num_nodes": nodes, "momentum": 0.5}, ids
        bank = torch.nn.functional.normalize(torch.randn(nodes, WIDTH))
        return {}, {**ids, "bank_s": bank, "bank_t": bank}
    if name == "simkd" and form == "Module":
        return {"classifier": torch.nn.Linear(WIDTH, 40)}, {}
    given: dict[str, Options] = {
        "vqgraph": {"codebook": torch.randn(2048, WIDTH)},
        "llp": {"context": torch.randint(0, nodes, (nodes, 12))},
        "mugsi": {
            "clusters": torch.randint(0, 1000, (nodes,)),
            "paths": torch.randint(0, nodes, (nodes // 10, 8)),
        },
    }
    return {}, given.get(name, {})


# These look at all pairs, and the Module adds nothing to its function: one run is enough.
SLOW = {"rkd", "pkt", "correlation_congruence", "gkd"}
CASES = [
    pytest.param(loss, form, id=f"{loss.name}-{form}")
    for loss in LOSSES
    for form in ("Module", "function")
    if not (loss.name in SLOW and form == "function")
]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("loss", "form"), CASES)
def test_default_form_takes_less_than_a_gibibyte(loss: Loss, form: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", MEASURE, loss.name, form]
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    mib = int(done.stdout.split()[-1]) / 1024
    assert mib < 1024, f"{loss.name}: {mib:,.0f} MiB"
