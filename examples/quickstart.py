"""Distil a graph attention network into a small student, with every loss of graphkd.

    python examples/quickstart.py                   # 3 seeds, MLP student: a minute or two
    python examples/quickstart.py --full            # 10 seeds, both students, every method
    python examples/quickstart.py --full --tune     # choose the weight of each loss anew first
    python examples/quickstart.py --dataset Cora --root data    # any of PyG's sets in DATASETS

The default data are the 1,797 handwritten digits that ship inside scikit-learn. The images are
real; the graph is built: each image is joined to the 8 whose pixels are nearest. Five labels per
class are known. The teacher is a three-layer GAT. The students are an MLP, which never sees the
graph, and a GCN with one hidden layer of eight units. They learn from the same 50 labels, and from
the teacher on all 1,797 nodes (the transductive setting).

Who sees which label: training nodes serve the cross-entropy of teacher and students. Validation
nodes choose the best epoch of each model and, with --tune, the weight of each loss: the best on
average over the first three seeds. The constants below were chosen so for the digits; for any other
dataset --tune is always on. Test nodes are scored at the end.
"""

import argparse
import copy
import itertools
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import _common
import _report
import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn
from torch.utils.benchmark import Timer
from torch_geometric.data import Data
from torch_geometric.datasets import Amazon, Coauthor, HeterophilousGraphDataset, Planetoid
from torch_geometric.nn.models import GAT, GCN, MLP
from torchmetrics.functional.classification import binary_auroc, multiclass_accuracy

import graphkd

# 1. Data ------------------------------------------------------------------------------------------

HETEROPHILOUS = ["Roman-empire", "Amazon-ratings", "Minesweeper", "Tolokers", "Questions"]
DATASETS = {
    **dict.fromkeys(["Cora", "CiteSeer", "PubMed"], Planetoid),
    **dict.fromkeys(["Photo", "Computers"], Amazon),
    **dict.fromkeys(["CS", "Physics"], Coauthor),
    **dict.fromkeys(HETEROPHILOUS, HeterophilousGraphDataset),
}


def load(name: str, root: str) -> Data:
    return _common.digits() if name == "Digits" else DATASETS[name](root, name)[0]


def split(data: Data, seed: int, per_class: int) -> Data:
    """The masks of one seed: the fixed ones where the set has some, else drawn.

    Drawn test nodes, one half of all, are the same for every seed: so no choice that was made on
    validation nodes, of whichever seed, has seen a test label.
    """
    data = copy.copy(data)
    if "train_mask" in data:
        for key in ("train_mask", "val_mask", "test_mask"):
            if data[key].dim() == 2:  # ten fixed splits, taken in turn
                data[key] = data[key][:, seed % data[key].size(1)]
        return data
    n, y = data.num_nodes, data.y
    order = torch.randperm(n, generator=torch.Generator().manual_seed(12345))
    test, rest = order[: n // 2], order[n // 2 :]
    rest = rest[torch.randperm(rest.numel(), generator=torch.Generator().manual_seed(seed))]
    train = torch.cat([rest[y[rest] == label][:per_class] for label in y.unique()])
    val = rest[~torch.isin(rest, train)][:500]
    for key, index in {"train_mask": train, "val_mask": val, "test_mask": test}.items():
        data[key] = torch.zeros(n, dtype=torch.bool).index_fill_(0, index, True)
    return data


def score(z: Tensor, data: Data, mask: Tensor) -> float:
    """Accuracy in per cent; of binary sets, the area under the ROC curve."""
    z, y = z[mask], data.y[mask]
    if z.size(1) == 2:
        return 100 * binary_auroc(z[:, 1] - z[:, 0], y).item()
    return 100 * multiclass_accuracy(z, y, num_classes=z.size(1), average="micro").item()


# 2. Models ----------------------------------------------------------------------------------------
# The representation to distil is the last hidden layer after BatchNorm, ReLU and dropout. PyG's
# GNNs call their one module `dropout` after each hidden layer, so its latest output is just that.
# PyG's MLP drops out by a function, which no hook sees: so `act` does both there.

MODELS: dict[str, Any] = {
    "GAT": partial(GAT, hidden_channels=128, num_layers=3, heads=4, dropout=0.5, norm="batch_norm"),
    "MLP": partial(MLP, hidden_channels=64, num_layers=2),
    "GCN": partial(GCN, hidden_channels=8, num_layers=2, dropout=0.2, norm="batch_norm"),
}
HIDDEN = {"GAT": ("dropout", 128), "MLP": ("act", 64), "GCN": ("dropout", 8)}  # layer and width


def build(name: str, data: Data) -> nn.Module:
    options = {"act": nn.Sequential(nn.ReLU(), nn.Dropout(0.5))} if name == "MLP" else {}
    sizes = {"in_channels": data.num_features, "out_channels": int(data.y.max()) + 1}
    return MODELS[name](**sizes, **options).to(data.x.device)


def forward(model: nn.Module, data: Data) -> Tensor:
    return model(data.x) if isinstance(model, MLP) else model(data.x, data.edge_index)


@torch.no_grad()
def predict(model: nn.Module, data: Data) -> Tensor:
    return forward(model.eval(), data)


# 3. Losses ----------------------------------------------------------------------------------------
# `max_samples` bounds the two losses over all pairs of nodes; the digits are fewer.

LOSSES: dict[str, Any] = {
    "kd": lambda dim_s, dim_t: graphkd.KDLoss(),
    "fitnet": lambda dim_s, dim_t: graphkd.FitNetLoss(dim_s, dim_t),
    "at": lambda dim_s, dim_t: graphkd.AttentionTransferLoss(),
    "lsp": lambda dim_s, dim_t: graphkd.LSPLoss(),
    "glsp": lambda dim_s, dim_t: graphkd.GlobalLSPLoss(max_samples=4096),
    "gcrd": lambda dim_s, dim_t: graphkd.GCRDLoss(dim_s, dim_t, proj_dim=64, max_samples=4096),
}
METHODS = ["none", *LOSSES, *(f"kd+{name}" for name in LOSSES if name != "kd")]
QUICK = ["none", *LOSSES, "kd+gcrd"]

# The values of the losses differ by orders of magnitude, and so do their weights.
GRID = {
    "kd": (0.1, 1.0, 10.0, 100.0),
    "fitnet": (10.0, 100.0, 1000.0, 10000.0, 100000.0),
    "at": (10.0, 100.0, 1000.0, 10000.0, 100000.0),
    "lsp": (1.0, 10.0, 100.0, 1000.0, 10000.0),
    "glsp": (1.0, 10.0, 100.0, 1000.0, 10000.0),
    "gcrd": (0.01, 0.1, 1.0, 10.0, 100.0),
}
# For the digits, as chosen on validation nodes by `python examples/quickstart.py --full --tune`.
# "kd+lsp" is the weight of LSP beside KD; KD keeps the weight that it has alone.
WEIGHTS = {
    "MLP": {
        "kd": 10.0, "fitnet": 10000.0, "at": 10000.0, "lsp": 1000.0, "glsp": 100.0, "gcrd": 10.0,
        "kd+fitnet": 100000.0, "kd+at": 100.0, "kd+lsp": 100.0, "kd+glsp": 10.0, "kd+gcrd": 0.01,
    },
    "GCN": {
        "kd": 100.0, "fitnet": 10000.0, "at": 1000.0, "lsp": 1.0, "glsp": 10000.0, "gcrd": 0.1,
        "kd+fitnet": 10000.0, "kd+at": 10.0, "kd+lsp": 1000.0, "kd+glsp": 1000.0, "kd+gcrd": 10.0,
    },
}  # fmt: skip


def objective(method: str, weights: dict[str, float], student: str) -> graphkd.WeightedSum | None:
    """The weighted sum of a method's distillation losses, such as of "kd+gcrd"."""
    if method == "none":
        return None
    terms = {}
    for name in method.split("+"):
        loss = LOSSES[name](HIDDEN[student][1], HIDDEN["GAT"][1])
        terms[name] = (weights["kd" if name == "kd" else method], loss)
    return graphkd.WeightedSum(**terms)


# 4. Training --------------------------------------------------------------------------------------


class Teacher(NamedTuple):
    h: Tensor  # hidden states of all nodes
    z: Tensor  # logits of all nodes


def fit(
    name: str,
    model: nn.Module,
    layer: str,
    data: Data,
    args: argparse.Namespace,
    distill: graphkd.WeightedSum | None = None,
    teacher: Teacher | None = None,
) -> tuple[float, float]:
    """Train to the epoch that is best on the validation nodes; its validation and test scores."""
    # Some losses project, and their heads learn: into the optimiser with them.
    parameters = [*model.parameters(), *(distill.parameters() if distill is not None else [])]
    optimizer = torch.optim.Adam(parameters, lr=0.01, weight_decay=5e-4)
    tap = graphkd.Tap(model, layer)
    if teacher is not None:
        _common.compiled(args, model)

    def step() -> None:
        model.train()
        with _common.autocast(args):
            z = forward(model, data)
        # The labels teach on the training nodes only ...
        loss = F.cross_entropy(z[data.train_mask].float(), data.y[data.train_mask])
        if distill is not None and teacher is not None:
            # ... the teacher on all nodes. Each loss takes the arguments that it needs.
            extra, _ = distill(
                h_s=tap.value, h_t=teacher.h, z_s=z, z_t=teacher.z, edge_index=data.edge_index
            )
            loss = loss + extra
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def evaluate() -> float:
        return score(predict(model, data), data, data.val_mask)

    others = {"optimizer": optimizer} | ({} if distill is None else {"distill": distill})
    best = _common.fit(name, args, model, step, evaluate, notes=False, **others)
    tap.close()
    return best, score(predict(model, data), data, data.test_mask)


def train_teacher(seed: int, data: Data, args: argparse.Namespace) -> tuple[Teacher, float]:
    torch.manual_seed(seed)
    model, layer = build("GAT", data), HIDDEN["GAT"][0]
    _, test = fit(f"GAT-{seed}", model, layer, data, args)
    graphkd.freeze(model)  # in evaluation mode and without gradients, for good
    with graphkd.Tap(model, layer) as tap:
        z = predict(model, data)
    return Teacher(tap.value, z), test


class Run(NamedTuple):
    """What all methods of one seed share."""

    seed: int
    data: Data
    teacher: Teacher


def distil(
    run: Run, student: str, method: str, weights: dict[str, float], args: argparse.Namespace
) -> tuple[float, float]:
    torch.manual_seed(run.seed)  # every method starts from the same student ...
    model = build(student, run.data)
    distill = objective(method, weights, student)
    if distill is not None:
        distill.to(run.data.x.device)
    torch.manual_seed(run.seed)  # ... and drops the same units, whatever heads its loss drew
    name = f"{student}-{method}-{weights.get(method, 0)}-{run.seed}"
    return fit(name, model, HIDDEN[student][0], run.data, args, distill, run.teacher)


def tune(
    runs: list[Run], student: str, args: argparse.Namespace, advance: Callable[[], None]
) -> dict[str, float]:
    """The weights that are best on the validation nodes, on average over the runs."""
    weights: dict[str, float] = {}
    for method in args.losses[1:]:  # KD comes before the sums that contain it
        vals = {}
        for weight in GRID[method.removeprefix("kd+")]:
            trial = {**weights, method: weight}
            scores = [distil(run, student, method, trial, args)[0] for run in runs]
            vals[weight] = round(float(np.mean(scores)), 3)
        weights[method] = max(vals, key=lambda weight: vals[weight])  # of equals, the smallest
        advance()
    return weights


def cost(name: str, data: Data) -> dict[str, float]:
    """The number of parameters, and the median time of a forward pass over the whole graph."""
    context = {"predict": predict, "model": build(name, data), "data": data}
    timer = Timer("predict(model, data)", globals=context, num_threads=torch.get_num_threads())
    milliseconds = 1e3 * timer.blocked_autorange(min_run_time=0.5).median
    parameters = sum(p.numel() for p in context["model"].parameters())
    return {"parameters": parameters, "milliseconds": milliseconds}


# 5. All together ----------------------------------------------------------------------------------


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="10 seeds, both students, all methods")
    parser.add_argument("--tune", action="store_true", help="always on for other datasets")
    parser.add_argument("--dataset", default="Digits", choices=["Digits", *DATASETS])
    parser.add_argument("--root", default="data", help="the root= of PyG's dataset")
    parser.add_argument("--seeds", type=int, help="default: 3")
    parser.add_argument("--students", nargs="+", choices=["MLP", "GCN"], help="default: MLP")
    parser.add_argument("--losses", nargs="+", choices=METHODS, help="beside none and kd")
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--amp", action="store_true", help="autocast to bfloat16")
    parser.add_argument("--compile", action="store_true", help="torch.compile the students")
    parser.add_argument("--checkpoint", type=Path, help="a folder: what is there is taken up again")
    parser.add_argument("--threads", type=int, default=1, help="small graphs gain little from more")
    parser.add_argument("--out", type=Path, default=Path("quickstart.json"))
    parser.add_argument("--figure", type=Path, default=Path("quickstart.png"))
    args = parser.parse_args()
    args.device = torch.device(args.device)
    args.seeds = args.seeds or (10 if args.full else 3)
    args.students = args.students or (["MLP", "GCN"] if args.full else ["MLP"])
    chosen = {"none", "kd", *(args.losses or (METHODS if args.full else QUICK))}
    args.losses = [method for method in METHODS if method in chosen]
    args.tune |= args.dataset != "Digits"
    return args


def main() -> None:
    args, console, start = parse(), Console(highlight=False), time.perf_counter()
    torch.set_num_threads(args.threads)

    def note(text: str) -> None:
        minutes, seconds = divmod(round(time.perf_counter() - start), 60)
        console.print(f"{minutes:3} min {seconds:2} s  {text}", markup=False, soft_wrap=True)

    data = load(args.dataset, args.root)
    per_student = args.seeds * len(args.losses) + args.tune * (len(args.losses) - 1)
    runs, teacher_tests, students = [], [], {}
    # In a log, the notes on the way stand in for the bar.
    with Progress(console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=args.seeds + len(args.students) * per_student)
        for seed in range(args.seeds):
            part = split(data, seed, per_class=5 if args.dataset == "Digits" else 20)
            part = part.to(args.device)
            teacher, test = train_teacher(seed, part, args)
            runs.append(Run(seed, part, teacher))
            teacher_tests.append(test)
            progress.advance(bar)
        note(f"teachers trained: {args.seeds}")
        for name in args.students:
            if args.tune:
                advance = partial(progress.advance, bar)
                weights = tune(runs[:3], name, args, advance)
                note(f'weights chosen: "{name}": {json.dumps(weights)}')
            else:
                weights = WEIGHTS[name]
            tests: dict[str, list[float]] = {method: [] for method in args.losses}
            for run, method in itertools.product(runs, args.losses):
                tests[method].append(distil(run, name, method, weights, args)[1])
                progress.advance(bar)
            methods = _common.compare(tests)
            students[name] = {**cost(name, part), "weights": weights, "methods": methods}
            note(f"{name} students distilled: {args.seeds * len(methods)}")

    result = {
        "dataset": args.dataset,
        "metric": "accuracy" if int(data.y.max()) > 1 else "ROC-AUC",
        "nodes": data.num_nodes,
        "edges": data.num_edges,
        "labelled": int(part.train_mask.sum()),
        "seeds": args.seeds,
        "epochs": args.epochs,
        "device": str(args.device),
        "threads": args.threads,
        "teacher": {**cost("GAT", part), "test": _common.mean_std(teacher_tests)},
        "students": students,
    }
    _report.print_tables(result, console)
    _report.plot(result, args.figure)
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    note(f"done: tables above, figure in {args.figure}, numbers in {args.out}.")


if __name__ == "__main__":
    main()
