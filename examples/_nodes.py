"""The data and the models of quickstart.py: splits, scores, and the cost of a forward pass."""

import copy
from functools import partial
from typing import Any

import _common
import torch
from torch import Tensor, nn
from torch.utils.benchmark import Timer
from torch_geometric.data import Data
from torch_geometric.datasets import Amazon, Coauthor, HeterophilousGraphDataset, Planetoid
from torch_geometric.nn.models import GAT, GCN, MLP, GraphSAGE
from torchmetrics.functional.classification import binary_auroc, multiclass_accuracy

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
    """The masks of one seed: the fixed ones if the data set has some, else drawn.

    Drawn test nodes are one half of all nodes, the same for every seed. So no choice on the
    validation nodes of any seed has seen a test label.
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
    """Accuracy in per cent; for binary sets, the area under the ROC curve."""
    z, y = z[mask], data.y[mask]
    if z.size(1) == 2:
        return 100 * binary_auroc(z[:, 1] - z[:, 0], y).item()
    return 100 * multiclass_accuracy(z, y, num_classes=z.size(1), average="micro").item()


# 2. Models ----------------------------------------------------------------------------------------
# The representation to distil is the last hidden layer after BatchNorm, ReLU and dropout. PyG's
# GNNs call their one module `dropout` after each hidden layer, so that its latest output is this
# one. PyG's MLP applies dropout by a function, which no hook sees. So `act` does both there.

MODELS: dict[str, Any] = {
    "GAT": partial(GAT, hidden_channels=128, num_layers=3, heads=4, dropout=0.5, norm="batch_norm"),
    # A second teacher, for the loss that takes several.
    "SAGE": partial(GraphSAGE, hidden_channels=128, num_layers=3, dropout=0.5, norm="batch_norm"),
    "MLP": partial(MLP, hidden_channels=64, num_layers=2),
    "GCN": partial(GCN, hidden_channels=8, num_layers=2, dropout=0.2, norm="batch_norm"),
}
# Layer and width.
HIDDEN = {
    "GAT": ("dropout", 128),
    "SAGE": ("dropout", 128),
    "MLP": ("act", 64),
    "GCN": ("dropout", 8),
}


def build(name: str, data: Data) -> nn.Module:
    options = {"act": nn.Sequential(nn.ReLU(), nn.Dropout(0.5))} if name == "MLP" else {}
    sizes = {"in_channels": data.num_features, "out_channels": int(data.y.max()) + 1}
    return MODELS[name](**sizes, **options).to(data.x.device)


def forward(model: nn.Module, data: Data) -> Tensor:
    return model(data.x) if isinstance(model, MLP) else model(data.x, data.edge_index)


@torch.no_grad()
def predict(model: nn.Module, data: Data) -> Tensor:
    return forward(model.eval(), data)


def cost(name: str, data: Data) -> dict[str, float]:
    """The number of parameters, and the median time of a forward pass over the whole graph."""
    context = {"predict": predict, "model": build(name, data), "data": data}
    timer = Timer("predict(model, data)", globals=context, num_threads=torch.get_num_threads())
    milliseconds = 1e3 * timer.blocked_autorange(min_run_time=0.5).median
    parameters = sum(p.numel() for p in context["model"].parameters())
    return {"parameters": parameters, "milliseconds": milliseconds}
