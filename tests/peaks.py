"""Peak memory of a step, measured in a fork of a process that has imported everything once."""

import functools
import os
import subprocess
import sys

# Linux forgets a process's peak when 5 is written to clear_refs. Otherwise the peak of importing
# torch would hide the peak of a small step.
PROGRAM = """
import os, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
def peak_kib():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])
def rise(step):
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_kib()
    step()
    return peak_kib() - before
exec(sys.argv[1])
for call in sys.stdin:
    if os.fork() == 0:
        try:
            answer = str(eval(call))
        except BaseException as error:
            answer = repr(error)
        print(answer.replace(chr(10), " "), flush=True)
        os._exit(0)
    os.wait()
"""


@functools.cache
def _process(setup: str) -> "subprocess.Popen[str]":
    # Freed memory goes back to the system at once, not when the allocator chooses.
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, setup],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"},
    )


def peak_mib(setup: str, call: str) -> float:
    """What ``call`` returns, in MiB: the ``rise`` in KiB over a step that ``setup`` defines."""
    process = _process(setup)
    process.stdin.write(f"{call}\n")
    process.stdin.flush()
    answer = process.stdout.readline().strip()
    assert answer.isdecimal(), answer or "the process ended"
    return int(answer) / 1024
