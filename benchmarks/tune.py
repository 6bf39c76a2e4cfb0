"""Choose the settings of an example's losses: weights, and the temperatures of KD and G-CRD.

    python benchmarks/tune.py graph_agnostic --methods kd fitnet gcrd kd+gcrd
    python benchmarks/tune.py molecules --methods kd gcrd --dataset bbbp --epochs 40

Every method gets the same number of trials, those of the demo (`trials` in examples/_settings.py).
Each trial runs the example on three seeds and takes its mean validation score; test scores are not
looked at. KD comes first, and keeps its setting beside other losses. The folder of checkpoints
lets the trials share their teachers, and a stopped search goes on. Further flags go to the example.
The last lines are the constants for the script.

The example runs in this process: to import torch takes longer than some trials.
"""

import argparse
import contextlib
import io
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import torch.distributed as dist
from rich.console import Console

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))

from _common import Setting  # noqa: E402
from _settings import trials  # noqa: E402


def score(command: list[str], method: str, chosen: dict[str, Setting], out: Path) -> float:
    """The validation score of a method, on average over students and seeds."""
    settings = [f"{name}={one}" for name, one in chosen.items()]
    out.unlink(missing_ok=True)
    sys.argv = [*command, "--methods", method, "--settings", *settings, "--out", str(out)]
    with contextlib.redirect_stdout(io.StringIO()):
        runpy.run_path(command[0], run_name="__main__")
    if dist.is_initialized():  # by ddp.py, which is a world of one here
        dist.destroy_process_group()
    validation = json.loads(out.read_text())["validation"]
    return float(np.mean([one["mean"] for one in validation.values()]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("example", help="the name of a script in examples/, but quickstart")
    parser.add_argument("--methods", nargs="+", required=True, help="those to choose settings for")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--checkpoint", type=Path, help="default: runs/tune-EXAMPLE")
    args, more = parser.parse_known_args()
    folder = args.checkpoint or Path("runs") / f"tune-{args.example}"
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(EXAMPLES / f"{args.example}.py"), "--seeds", str(args.seeds)]
    command += ["--checkpoint", str(folder), *more]
    console, chosen = Console(highlight=False), {}
    for method in sorted(args.methods, key=lambda name: name != "kd"):
        found = {}
        for setting in trials(method):
            trial = {**chosen, method: setting}
            kept = {name: trial[name] for name in ("kd", method) if name in trial}
            found[setting] = round(score(command, method, kept, folder / "out.json"), 3)
            console.print(f"{method}={setting}: {found[setting]}", markup=False)
        chosen[method] = max(found, key=lambda setting: found[setting])  # the first of equals
    for method, setting in chosen.items():
        numbers = ", ".join(str(number) for number in setting if number is not None)
        console.print(f'    "{method}": Setting({numbers}),', markup=False)


if __name__ == "__main__":
    main()
