"""The models of quickstart.py: their predictions, scores, and the cost of a forward pass."""

from functools import partial
from typing import Any

import torch
from study import fit
from study.data import Problem
from torch import Tensor, nn
from torch.utils.benchmark import Timer
from torch_geometric.data import Data
from torch_geometric.nn.models import GAT, GCN, MLP, GraphSAGE

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


def score(z: Tensor, data: Data, mask: Tensor) -> float:
    """Accuracy in per cent; for two classes, the area under the ROC curve."""
    kind = "binary" if z.size(1) == 2 else "multiclass"
    return fit.score(z[mask], data.y[mask], Problem(kind, z.size(1), [data], {}))


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
