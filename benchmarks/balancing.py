"""Balancing on three losses whose tuned weights differ by orders of magnitude.

    python benchmarks/balancing.py      # a few minutes on two cores

It distils the demo's teacher into the MLP by one loss at a time: with the weight that was tuned on
validation nodes (examples/quickstart.py), with the same weight of 1 for all, and with a weight of 1
under WeightedSum(balance=True). It also gives the loss's pull on the student's embeddings during
training: the norm of its gradient over the norm of the task's gradient.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "examples"))

import quickstart as demo  # noqa: E402
from study import methods  # noqa: E402

import graphkd  # noqa: E402

LOSSES = ("at", "glsp", "gcrd")


def gradient_norm(loss: torch.Tensor, h: torch.Tensor) -> float:
    return torch.autograd.grad(loss, h, retain_graph=True)[0].norm().item()


def fit(run: demo.Run, name: str, weight: float, balance: bool, epochs: int) -> dict[str, float]:
    """Train as the demo does, and note the pull of the unweighted loss on the way."""
    data, (layer, width) = run.data, demo.HIDDEN["MLP"]
    torch.manual_seed(run.seed)
    model = demo.build("MLP", data)
    case = demo.Case(width, demo.HIDDEN["GAT"][1], data, run.teacher, run.second)
    loss, _ = methods.LOSSES[name](case, **demo.SETTINGS["MLP"][name].options())
    distill = graphkd.WeightedSum(**{name: (weight, loss)}, balance=balance)
    torch.manual_seed(run.seed)
    parameters = [*model.parameters(), *distill.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=0.01, weight_decay=5e-4)
    best, test, pulls = -1.0, 0.0, []
    with graphkd.Tap(model, layer) as tap:
        for epoch in range(epochs):
            model.train()
            z = demo.forward(model, data)
            task = F.cross_entropy(z[data.train_mask], data.y[data.train_mask])
            inputs = {"h_s": tap.value, "h_t": run.teacher.h, "z_s": z, "z_t": run.teacher.z}
            extra, _ = distill(
                **inputs, edge_index=data.edge_index, task_loss=task if balance else None
            )
            if epoch % 10 == 0:
                raw = extra / (weight * (distill.factors()[name] if balance else 1))
                pulls.append(gradient_norm(raw, tap.value) / gradient_norm(task, tap.value))
            optimizer.zero_grad()
            (task + extra).backward()
            optimizer.step()
            z = demo.predict(model, data)
            val = demo.score(z, data, data.val_mask)
            if val > best:
                best, test = val, demo.score(z, data, data.test_mask)
    return {"test": test, "pull": float(np.median(pulls))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "balancing.json")
    # The demo's other flags, at their defaults.
    parser.set_defaults(checkpoint=None, device=torch.device("cpu"), amp=False, compile=False)
    args = parser.parse_args()
    torch.set_num_threads(1)
    console, runs = Console(highlight=False), []
    for seed in range(args.seeds):
        part = demo.problem("Digits", "", seed).learn[0]
        teacher, _ = demo.train_teacher("GAT", seed, part, args)
        runs.append(demo.Run(seed, part, teacher, None))
    console.print(f"{args.seeds} teachers trained")
    report: dict = {"seeds": args.seeds, "epochs": args.epochs, "losses": {}}
    for name in LOSSES:
        tuned = demo.SETTINGS["MLP"][name].weight
        ways = {"tuned": (tuned, False), "one": (1.0, False), "balanced": (1.0, True)}
        row: dict = {"tuned_weight": tuned}
        for way, (weight, balance) in ways.items():
            fits = [fit(run, name, weight, balance, args.epochs) for run in runs]
            tests = [one["test"] for one in fits]
            row[way] = {"mean": np.mean(tests), "std": np.std(tests, ddof=1), "seeds": tests}
            if way == "one":
                row["pull"] = float(np.median([one["pull"] for one in fits]))
            console.print(f"{name}, {way}: {row[way]['mean']:.1f} ± {row[way]['std']:.1f}")
        report["losses"][name] = row
    args.out.write_text(json.dumps(report, indent=1) + "\n")
    console.print(f"Written: {args.out.name}. `python benchmarks/report.py` renders it.")


if __name__ == "__main__":
    main()
