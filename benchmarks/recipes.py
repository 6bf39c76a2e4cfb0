"""Whether each recipe of docs/recipes.md makes a student better than no distillation does.

    python benchmarks/recipes.py                         # five seeds: a quarter of an hour
    python benchmarks/recipes.py --seeds 3 --only GLNN   # one of them

It runs the blocks of the page as they stand there, with other seeds and more epochs. Each recipe
gives its score and the score of the same student without distillation, on the same split. What the
JSON holds for the same set-up and recipe is not run again. `python benchmarks/report.py`
writes the table into the page.
"""

import argparse
import ast
import hashlib
import json
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

HERE = Path(__file__).resolve().parent
PAGE, OUT = HERE.parent / "docs" / "recipes.md", HERE / "results" / "recipes.json"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
FLAGS = re.compile(r"^seed, epochs = \d+, \d+", re.MULTILINE)
NAME = re.compile(r'scores\["(.+?)"\]')


def blocks() -> tuple[str, dict[str, str]]:
    """The set-up, and the recipes by name."""
    setup, *rest = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    return setup, {NAME.findall(block)[0]: block for block in rest}


def stamp(setup: str, code: str, epochs: int) -> str:
    """What a result was measured with, whatever the format of the code and its comments."""
    meant = [ast.dump(ast.parse(text)) for text in (setup, code)]
    return hashlib.sha256(repr([*meant, epochs]).encode()).hexdigest()[:12]


def read() -> dict[str, Any]:
    return json.loads(OUT.read_text()) if OUT.exists() else {"recipes": {}}


def keep(name: str, seed: int, row: dict[str, Any], epochs: int) -> None:
    """Add one result to the file as it is now: another process may run other seeds."""
    result = read()
    result["epochs"] = epochs
    result["recipes"].setdefault(name, {})[str(seed)] = row
    OUT.write_text(json.dumps(result, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--only", nargs="+", help="names of recipes")
    parser.add_argument("--epochs", type=int, default=60)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="Sparse")
    console, (setup, recipes) = Console(highlight=False), blocks()
    chosen = {name: code for name, code in recipes.items() if name in (args.only or recipes)}
    for seed in args.seeds:
        known = read()["recipes"]
        missing = {
            name: mark
            for name, code in chosen.items()
            if known.get(name, {}).get(str(seed), {}).get("code")
            != (mark := stamp(setup, code, args.epochs))
        }
        if not missing:
            continue
        space: dict[str, Any] = {"__name__": "page"}
        flags = f"seed, epochs = {seed}, {args.epochs}"
        exec(compile(FLAGS.sub(flags, setup, count=1), PAGE.name, "exec"), space)
        for name, mark in missing.items():
            torch.manual_seed(seed)
            exec(compile(chosen[name], PAGE.name, "exec"), own := dict(space))
            distilled, alone = own["scores"][name]
            row = {"with": round(distilled, 3), "without": round(alone, 3), "code": mark}
            keep(name, seed, row, args.epochs)
            console.print(f"seed {seed}  {name}: {distilled:.1f}, without {alone:.1f}")


if __name__ == "__main__":
    main()
