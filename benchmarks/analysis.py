"""What the paper's methods preserve of the teacher: similarities along edges, and of all pairs.

    python benchmarks/analysis.py              # five seeds, both students: a quarter of an hour
    python benchmarks/analysis.py --seeds 0    # one of them: three minutes
    python benchmarks/analysis.py --pictures docs/_static   # of one student, beside the numbers

It trains the quickstart's teacher, and both students by every method of the paper, with the
quickstart's settings. Then graphkd.diagnostics compares the last hidden layers of student and
teacher on all nodes, as they are in evaluation mode. Agreement and accuracy are those of test
nodes. The student before training stands beside them. What the JSON holds for the same settings is
not run again. `python benchmarks/report.py` writes the table and the picture of
docs/diagnostics/analysis.md.
"""

import argparse
import json
import sys
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "examples"))

import quickstart as demo  # noqa: E402

import graphkd  # noqa: E402
from graphkd import diagnostics  # noqa: E402

METHODS = ["untrained", *demo.PAPER]


def setting(student: str, method: str) -> str:
    """The weights and temperatures that a method is run with, as text."""
    known = demo.SETTINGS[student]
    used = dict.fromkeys([*(["kd"] if "kd" in method else []), method])
    return " ".join(f"{name}={known[name]}" for name in used if name in known)


def train(run: demo.Run, name: str, method: str, args: argparse.Namespace) -> nn.Module:
    """The student as the demo trains it."""
    torch.manual_seed(run.seed)
    model, (layer, width) = demo.build(name, run.data), demo.HIDDEN[name]
    if method == "untrained":
        return model
    case = demo.Case(width, demo.HIDDEN["GAT"][1], run.data, run.teacher, run.second)
    distill, given = demo.objective(method, demo.SETTINGS[name], case)
    torch.manual_seed(run.seed)
    unique = f"{name}-{method}-{setting(name, method)}-{run.seed}"
    demo.fit(unique, model, layer, run.data, args, method, distill, case, given)
    return model


def outputs(model: nn.Module, name: str, run: demo.Run) -> tuple[Tensor, Tensor]:
    """Hidden states and logits of all nodes."""
    with graphkd.Tap(model, demo.HIDDEN[name][0]) as tap:
        z = demo.predict(model, run.data)
    with torch.no_grad():
        return tap.value, z


def measured(h_s: Tensor, z_s: Tensor, run: demo.Run, permutations: int) -> dict[str, float]:
    """Every measure, and of three how many deviations it lies above the null."""
    data, (_, h_t, z_t) = run.data, run.teacher
    test = data.test_mask
    by_chance = {
        "global": diagnostics.global_structure_correlation,
        "local": partial(diagnostics.local_structure_correlation, edge_index=data.edge_index),
        "cka": diagnostics.linear_cka,
    }
    row = {
        "accuracy": demo.score(z_s, data, test),
        "agreement": 100 * float(diagnostics.agreement(z_s[test], z_t[test])),
        "overlap": float(diagnostics.neighbour_overlap(h_s, h_t)),
        "second_order": float(diagnostics.second_order_cosine(h_s, h_t)),
        "disparity": float(diagnostics.procrustes_disparity(h_s, h_t)),
        "zero_rows": int((h_s == 0).all(dim=1).sum()),
    }
    for name, measure in by_chance.items():
        draws = torch.Generator().manual_seed(run.seed)
        found = diagnostics.permutation_test(
            measure, h_s, h_t, permutations=permutations, generator=draws
        )
        row |= {name: float(found.value), f"{name}_null": float(found.mean)}
        row[f"{name}_z"] = float(found.z)
    return row


def pictures(run: demo.Run, flags: argparse.Namespace, permutations: int, folder: Path) -> None:
    """What the guide shows of the MLP that G-CRD has taught at the first seed."""
    data, (teacher, h_t, z_t) = run.data, run.teacher
    student = train(run, "MLP", "gcrd", flags)
    h_s, z_s = outputs(student, "MLP", run)
    layers = [
        [graphkd.Tap(model, name) for name in names]
        for model, names in (
            (student, ("act", "lins.1")),
            (teacher, ("convs.0", "convs.1", "dropout", "convs.2")),
        )
    ]
    for model in (student, teacher):
        demo.predict(model, data)
    draws = torch.Generator().manual_seed(0)
    local = partial(diagnostics.local_structure_correlation, edge_index=data.edge_index)
    test = diagnostics.permutation_test(local, h_s, h_t, permutations=permutations, generator=draws)
    drawn = {
        "layers": diagnostics.plot_layers(diagnostics.linear_cka, *layers),
        "null": diagnostics.plot_null(test),
        "embeddings": diagnostics.plot_embeddings(h_s, h_t, data.y)[0],
        "agreement": diagnostics.plot_agreement(
            z_s, z_t, data.edge_index, data.y, index=data.test_mask
        )[0],
    }
    for name, ax in drawn.items():
        ax.figure.savefig(folder / f"diagnostics_{name}.png", dpi=110)


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def keep(path: Path, place: tuple[str, ...], row: dict[str, Any], **facts: Any) -> None:
    """Add one result to the file as it is now: another process may run other seeds."""
    result = read(path)
    result.update(facts)
    *above, last = place
    at = result.setdefault("students", {})
    for key in above:
        at = at.setdefault(key, {})
    at[last] = row
    path.write_text(json.dumps(result, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--students", nargs="+", choices=["MLP", "GCN"], default=["MLP", "GCN"])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--permutations", type=int, default=200)
    parser.add_argument("--pictures", type=Path, help="a folder for those of the guide")
    parser.add_argument("--checkpoint", type=Path, help="a folder for what is trained")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "analysis.json")
    args = parser.parse_args()
    # The demo's flags, at their defaults.
    flags = argparse.Namespace(device=torch.device("cpu"), amp=False, compile=False, doctor=None)
    flags.epochs, flags.checkpoint = args.epochs, args.checkpoint
    torch.set_num_threads(1)
    console = Console(highlight=False)
    facts = {"epochs": args.epochs, "permutations": args.permutations}
    sizes = ", ".join(f"{number} {what}" for what, number in facts.items())
    for seed in args.seeds:
        known = read(args.out).get("students", {})
        missing = {
            (name, method): used
            for name, method in product(args.students, args.methods)
            if known.get(name, {}).get(method, {}).get(str(seed), {}).get("setting")
            != (used := f"{setting(name, method)} {sizes}".strip())
        }
        draws = args.pictures and seed == args.seeds[0]
        if not (missing or draws):
            continue
        part = demo.problem("Digits", "", seed).learn[0]
        teacher, accuracy = demo.train_teacher("GAT", seed, part, flags)
        run = demo.Run(seed, part, teacher, None)
        if draws:
            pictures(run, flags, args.permutations, args.pictures)
        for (name, method), used in missing.items():
            h_s, z_s = outputs(train(run, name, method, flags), name, run)
            row = measured(h_s, z_s, run, args.permutations)
            row |= {"teacher": accuracy, "setting": used}
            keep(args.out, (name, method, str(seed)), row, **facts)
            console.print(
                f"seed {seed}  {name} {method}: local {row['local']:.3f}, global "
                f"{row['global']:.3f}, accuracy {row['accuracy']:.1f}"
            )


if __name__ == "__main__":
    main()
