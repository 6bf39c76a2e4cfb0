"""The code that the examples share: flags, a resumable training loop, the final table.

Nothing here distils. Each script holds its own distillation, which users may copy.
"""

import argparse
import copy
import json
import os
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import study
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from study.methods import LABELS, Setting
from torch import nn

from graphkd.diagnostics import Doctor

console = Console(highlight=False)

# The flags that may differ between runs that share a folder of checkpoints.
_FREE_FLAGS = {"check", "checkpoint", "device", "doctor", "figure", "full", "losses", "methods"}
_FREE_FLAGS |= {"out", "root", "seeds", "settings", "students", "tune"}


Settings = dict[str, Setting]


def a_setting(text: str) -> tuple[str, Setting]:
    """ "gcrd=0.1@0.5" as the name of a method and its setting."""
    method, _, numbers = text.partition("=")
    return method, Setting(*map(float, numbers.split("@")))


def parser(doc: str | None, *, methods: list[str], epochs: int, seeds: int = 3) -> Any:
    """The flags of an example. A script adds its own, then calls parse_args()."""
    result = argparse.ArgumentParser(description=doc, formatter_class=study.Help)
    add_flags(result, epochs)
    add = result.add_argument
    add("--seeds", type=int, default=seeds, help="how often all of it is done")
    add("--methods", nargs="+", choices=methods, default=methods, help="to compare")
    add("--out", type=Path, help="a JSON file for the numbers of the table")
    return result


def add_flags(parser: argparse.ArgumentParser, epochs: int) -> None:
    """Add the flags that all examples have."""
    add = parser.add_argument
    add("--root", default="data", help="the folder of all data sets; each has its own in it")
    add("--epochs", type=int, default=epochs, help="of each model")
    add(
        "--settings", nargs="+", default=[], type=a_setting, metavar="METHOD=WEIGHT[@TEMPERATURE]",
        help="such as gcrd=0.1@0.5, in place of the script's own",
    )  # fmt: skip
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    add("--device", default=device, type=torch.device, help="of torch")
    add("--amp", action="store_true", help="autocast to bfloat16")
    add("--compile", action="store_true", help="torch.compile the student")
    add(
        "--doctor", nargs="?", const=Path(os.devnull), type=Path, metavar="FILE",
        help="print what graphkd's Doctor finds in each run; FILE gets it as lines of JSON",
    )  # fmt: skip
    add("--checkpoint", type=Path, help="a folder: what is there is taken up again")


def autocast(args: argparse.Namespace) -> AbstractContextManager[Any]:
    """Bfloat16 if --amp asks for it. The losses still compute in float32."""
    return torch.autocast(args.device.type, dtype=torch.bfloat16, enabled=args.amp)


def compiled(args: argparse.Namespace, *modules: nn.Module) -> None:
    """Compile the modules if --compile asks for it. Make any Tap on them before.

    Compilation is in place, so that their state_dict keeps its names.
    """
    for module in modules:
        if args.compile:
            module.compile(dynamic=True)


def watched(args: argparse.Namespace, loss: nn.Module, **models: Any) -> nn.Module:
    """The loss under a Doctor if --doctor asks for it; `fit` prints what it finds.

    Args:
        args: The flags.
        loss: The loss, which is called with task_loss= and y= beyond its own arguments.
        models: The student and the optimizer.
    """
    return Doctor(loss, **models, every=10) if args.doctor else loss


def tell(name: str, args: argparse.Namespace, *parts: Any) -> None:
    """Print what the Doctors among the parts found in a run."""
    for doctor in parts:
        if isinstance(doctor, nn.ModuleDict):
            tell(name, args, *doctor.values())
        elif isinstance(doctor, Doctor):
            console.print(f"{name}: {doctor.report()}", markup=False, soft_wrap=True)
            found = [finding._asdict() for finding in doctor.findings()]
            line = {"run": name, "found": found, "report": doctor.report()}
            with args.doctor.open("a") as file:
                file.write(json.dumps(line) + "\n")


def terms(method: str, settings: Settings, losses: dict[str, Any]) -> dict[str, Any]:
    """The (weight, loss) pairs of a method such as "kd+gcrd", for WeightedSum.

    The setting of "kd+gcrd" is that of G-CRD beside KD; KD keeps the one that it has alone.
    """
    if method == "none":
        return {"none": (0.0, losses["kd"]())}
    chosen = {name: settings["kd" if name == "kd" else method] for name in method.split("+")}
    return {name: (one.weight, losses[name](**one.options())) for name, one in chosen.items()}


def run_name(seed: int, method: str, settings: Settings) -> str:
    """The name of a student's run, and of its checkpoint."""
    used = [str(settings[key]) for key in dict.fromkeys(["kd", method]) if key in settings]
    return "-".join([str(seed), method, *(used if method != "none" else [])])


def seed_everything(seed: int) -> None:
    """Seed torch, and Python's random, from which PyG's negative sampling draws."""
    torch.manual_seed(seed)
    random.seed(seed)


def fit(
    name: str,
    args: argparse.Namespace,
    model: nn.Module,
    step: Callable[[], Any],
    evaluate: Callable[[], float],
    *,
    writes: bool = True,
    notes: bool = True,
    **others: Any,
) -> float:
    """Train for ``args.epochs``, then put the model back to its best epoch on validation data.

    Args:
        name: The name of the run and of its checkpoint.
        args: The flags.
        model: The model that is trained. Its best state is kept.
        step: Trains one epoch.
        evaluate: The validation score; larger is better.
        writes: Whether this process writes the checkpoint that all read. One of several ranks does.
        notes: Whether to show progress, and a line at the end.
        others: Other objects that a checkpoint needs: optimiser, loss (for its heads), scheduler.
    """
    path = args.checkpoint / f"{name}.pt" if args.checkpoint else None
    parts = {"model": model, **others}
    flags = {key: str(value) for key, value in vars(args).items() if key not in _FREE_FLAGS}
    done, best, best_state = 0, -float("inf"), copy.deepcopy(model.state_dict())
    if path is not None and path.exists():
        saved = torch.load(path, map_location=args.device, weights_only=True)
        if saved["flags"] != flags:
            raise SystemExit(f"{path} was trained with other flags. Pass another --checkpoint.")
        for key, part in parts.items():
            part.load_state_dict(saved["parts"][key])
        done, best, best_state = saved["epochs"], saved["best"], saved["best_state"]
        _set_random_state(saved["random"])
    epochs = range(done, args.epochs)
    quiet = not (notes and console.is_terminal)
    for epoch in track(epochs, name, console=console, transient=True, disable=quiet):
        step()
        score = evaluate()
        if score > best:
            best, best_state = score, copy.deepcopy(model.state_dict())
        if path is not None and writes:
            states = {key: part.state_dict() for key, part in parts.items()}
            saved = {"parts": states, "best": best, "best_state": best_state, "flags": flags}
            _save(path, {**saved, "epochs": epoch + 1, "random": _random_state()})
    model.load_state_dict(best_state)
    tell(name, args, *others.values())
    if notes:
        console.print(f"{name}: best validation score {best:.2f}", markup=False)
    return best


def _save(path: Path, content: dict[str, Any]) -> None:
    """Write the file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(content, partial)
    partial.replace(path)


def _random_state() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"torch": torch.get_rng_state(), "cuda": cuda, "python": random.getstate()}


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"]:
        torch.cuda.set_rng_state_all([x.cpu() for x in state["cuda"]])
    random.setstate(state["python"])


def mean_std(values: Any) -> dict[str, Any]:
    """Mean and sample standard deviation; one seed has no deviation."""
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "std": std, "seeds": [float(v) for v in values]}


def show(value: dict[str, Any], sign: str = "", digits: int = 1) -> str:
    spread = "" if value["std"] is None else f" ± {value['std']:.{digits}f}"
    mean = round(value["mean"], digits) + 0.0  # no minus zero
    return f"{mean:{sign}.{digits}f}{spread}"


def label(method: str) -> str:
    return " + ".join(LABELS.get(name, name) for name in method.split("+"))


def model_and_method(key: str) -> tuple[str, str]:
    """("MLP", "kd") from "MLP: kd"; from "kd" alone, ("student", "kd")."""
    model, _, method = key.rpartition(": ")
    return model or "student", method


def compare(tests: dict[str, list[float]]) -> dict[str, dict[str, Any]]:
    """Test scores by method, and their differences, seed by seed, to no distillation and to KD."""
    return {
        key: {
            "label": label(model_and_method(key)[1]),
            "test": mean_std(values),
            **{
                f"minus_{base}": mean_std(np.subtract(values, tests[stem + base]))
                for base in ("none", "kd")
                for stem in [key.removesuffix(model_and_method(key)[1])]
                if stem + base in tests
            },
        }
        for key, values in tests.items()
    }


def report(
    title: str,
    metric: str,
    args: argparse.Namespace,
    teacher: list[float],
    tests: dict[str, list[float]],
    *,
    digits: int = 1,
    **facts: Any,
) -> None:
    """Print the final table, and write the numbers if --out asks for it.

    Args:
        title: The data.
        metric: The name of the score.
        args: The flags.
        teacher: The teacher's test score for each seed.
        tests: The student's scores by method; for several students by "student: method".
        digits: Decimal places of the table.
        facts: Further entries of the JSON.
    """
    seeds = len(teacher)
    console.print(f"\n{title}: test {metric}, mean ± standard deviation over {seeds} seed(s)")
    table = Table("model", "method")
    for column in (metric, "Δ no distillation", "Δ KD"):
        table.add_column(column, justify="right")
    table.add_row("teacher", "–", show(mean_std(teacher), digits=digits), "", "")
    methods = compare(tests)
    for key, method in methods.items():
        model, name = model_and_method(key)
        gains = (
            "" if name == base or f"minus_{base}" not in method
            else show(method[f"minus_{base}"], "+", digits)
            for base in ("none", "kd")
        )  # fmt: skip
        table.add_row(model, method["label"], show(method["test"], digits=digits), *gains)
    console.print(table)
    console.print("Differences are taken seed by seed: same data, teacher and initial student.")
    if args.out:
        paths = ("checkpoint", "out", "root")
        flags = {key: str(value) for key, value in vars(args).items() if key not in paths}
        result = {"title": title, "metric": metric, "teacher": mean_std(teacher), **facts}
        args.out.write_text(json.dumps({**result, "methods": methods, "flags": flags}, indent=2))
