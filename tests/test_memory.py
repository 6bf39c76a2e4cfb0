"""Below one GiB: every loss of the table in its default form, on 20,000 nodes of width 128.

An N × N matrix of them takes 1.5 GiB, so that none can be hiding.
"""

import os
import subprocess
import sys

import pytest

from tests.contract import LOSSES, Loss

NODES, WIDTH = 20_000, 128

# Linux forgets a process's peak when 5 is written to clear_refs.
MEASURE = """
import sys, torch
from pathlib import Path
from tests.contract import LOSSES
torch.set_num_threads(1)
loss = next(loss for loss in LOSSES if loss.name == sys.argv[1])
nodes, width = int(sys.argv[2]), int(sys.argv[3])
def step(n):
    h_s, h_t, edge_index = loss.inputs(n=n, dims=(width, width), dtype=torch.float32)
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_kib()
    value = loss.call(h_s, h_t, edge_index)
    value.backward()
    assert value.isfinite() and h_s.grad.isfinite().all()
    return peak_kib() - before
def peak_kib():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])
step(64)   # libraries and workspaces are loaded
print(step(nodes))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_default_form_takes_less_than_a_gibibyte(loss: Loss) -> None:
    command = [sys.executable, "-W", "ignore", "-c", MEASURE, loss.name, str(NODES), str(WIDTH)]
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) / 2**20 < 1, f"{loss.name}: GiB"
