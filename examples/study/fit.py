"""One run: a model is trained, with or without a teacher, up to its best epoch on validation data.

Labels teach on the training rows, the teacher on all rows of the graphs to learn from, or on the
training rows alone. Its outputs are attributes of these graphs: `z_t`, and `h_node` and `h_graph`
as far as it has them. Test rows are scored once, by `scores`, when the caller asks for it.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data, HeteroData
from torch_geometric.loader import DataLoader
from torchmetrics.functional.classification import (
    binary_auroc,
    multiclass_accuracy,
    multiclass_jaccard_index,
    multilabel_f1_score,
)
from torchmetrics.functional.regression import mean_squared_error

import graphkd

from .batches import Batches
from .checkpoint import Checkpoint
from .data import Problem, rows
from .methods import Case, sides

METRICS = {
    "multiclass": "accuracy, %", "binary": "ROC-AUC, %", "regression": "minus RMSE",
    "segmentation": "mean IoU, %",
}  # fmt: skip
NO_AREA = "No label has both values among the rows that are scored."
BATCH_TO_SCORE, NODES_TO_SCORE = 1024, 2**18  # graphs and nodes of a batch, at most


class Training(NamedTuple):
    """How long and how fast a model learns."""

    lr: float = 0.01
    weight_decay: float = 5e-4
    epochs: int = 200
    patience: int = 50  # epochs without a better validation score


class Taught(NamedTuple):
    """What a student learns from: a weighted sum of losses and what it takes beyond the outputs."""

    loss: nn.Module
    given: dict[str, Any]
    method: str
    case: Case
    level: str = "node"  # the rows that are compared: "node" or "graph"


class Fitted(NamedTuple):
    validation: float
    epoch: int  # of the best validation score
    epochs: int  # that were run
    earlier: float = 0.0  # seconds before the run was taken up again


def metric(problem: Problem) -> str:
    if problem.kind == "multilabel":
        return "ROC-AUC, %" if problem.per_graph else "micro-F1, %"
    return METRICS[problem.kind]


def task_loss(z: Tensor, y: Tensor, problem: Problem) -> Tensor:
    """The mean over the known labels; 0 if there are none."""
    if problem.kind in ("multiclass", "binary", "segmentation"):
        loss = F.cross_entropy(z, y, ignore_index=-1, reduction="sum")
        return loss / (y >= 0).sum().clamp(min=1)
    known, y = ~y.isnan().view_as(z), y.view_as(z).float()
    if problem.kind == "regression":
        y = (y - problem.center) / problem.spread
    z, y = z[known], y[known]
    if problem.kind == "regression":
        return F.mse_loss(z, y)
    return F.binary_cross_entropy_with_logits(z, y, reduction="sum") / max(y.numel(), 1)


def score(z: Tensor, y: Tensor, problem: Problem) -> float:
    """Larger is better: the score of METRICS, in per cent or as minus an error."""
    match problem.kind:
        case "multiclass":
            found = multiclass_accuracy(
                z, y, num_classes=z.size(1), average="micro", ignore_index=-1
            )
        case "binary":
            if y[y >= 0].unique().numel() < 2:
                raise FloatingPointError(NO_AREA)
            found = binary_auroc(z[:, 1] - z[:, 0], y, ignore_index=-1)
        case "segmentation":
            found = multiclass_jaccard_index(z, y, num_classes=z.size(1), ignore_index=-1)
        case "regression":
            return -_mean_error(z, y.view_as(z).float(), problem)
        case "multilabel" if problem.per_graph:
            return 100 * _mean_area(z, y.float())
        case _:
            known = y.nan_to_num(-1).long()
            found = multilabel_f1_score(z, known, z.size(1), average="micro", ignore_index=-1)
    return 100 * found.item()


def has_area(problem: Problem) -> bool:
    return metric(problem).startswith("ROC-AUC")


def part_without_area(problem: Problem) -> str | None:
    """A part that has no score, since none of its labels has both values."""
    for part, graphs in problem.held.items():
        y = torch.cat([data.y[rows(data, part)] for data in graphs]).float()
        both = (y == 0).any(dim=0) & (y == 1).any(dim=0)
        if has_area(problem) and not both.any():
            return part
    return None


def _mean_area(z: Tensor, y: Tensor) -> float:
    """The mean over the labels that have both values, as ogb takes it."""
    areas = []
    for z_k, y_k in zip(z.t(), y.t(), strict=True):
        known = ~y_k.isnan()
        if y_k[known].unique().numel() == 2:
            areas.append(binary_auroc(z_k[known], y_k[known].long()).item())
    if not areas:
        raise FloatingPointError(NO_AREA)
    return sum(areas) / len(areas)


def _mean_error(z: Tensor, y: Tensor, problem: Problem) -> float:
    """The root of the mean squared error.

    Of several columns, the mean over them, each in units of its labels' deviation in training.
    """
    if z.size(1) == 1:
        z = z * problem.spread + problem.center
    else:
        y = (y - problem.center) / problem.spread
    known = ~y.isnan()  # a column without labels in training has no unit, and so none here
    errors = [
        mean_squared_error(z_k[known_k], y_k[known_k], squared=False)
        for z_k, y_k, known_k in zip(z.t(), y.t(), known.t(), strict=True)
        if known_k.any()
    ]
    if not errors:
        raise FloatingPointError("No column has labels in training and where it is scored.")
    return torch.stack(errors).mean().item()


@torch.no_grad()
def evaluate(model: nn.Module, problem: Problem, batches: list[Data], part: str) -> float:
    model.eval()
    z, y = [], []
    for data in batches:
        chosen = rows(data, part)
        z.append(model(data)[chosen])
        y.append(data.y[chosen])
    return score(torch.cat(z), torch.cat(y), problem)


def batched(graphs: list[Data], problem: Problem) -> list[Data]:
    """The batches of a part to score."""
    if not problem.many:
        return graphs
    most = NODES_TO_SCORE // max(graph.num_nodes for graph in graphs)
    return [*DataLoader(graphs, max(1, min(most, BATCH_TO_SCORE)))]


def scores(model: nn.Module, problem: Problem) -> dict[str, float]:
    """The scores of the test parts."""
    parts = {part: graphs for part, graphs in problem.held.items() if part != "val"}
    return {
        part: evaluate(model, problem, batched(graphs, problem), part)
        for part, graphs in parts.items()
    }


def fit(
    model: nn.Module,
    problem: Problem,
    training: Training,
    taught: Taught | None = None,
    after_epoch: Callable[[int], None] = lambda epoch: None,
    kept: Path | None = None,
) -> Fitted:
    """Train a model and leave it at its best epoch on validation data.

    A run that was stopped goes on from the file `kept`, and gives what it would have given.

    Raises:
        FloatingPointError: If it diverges, so that no epoch has a score.
    """
    heads = [] if taught is None else [*taught.loss.parameters()]
    optimizer = torch.optim.Adam(
        [*model.parameters(), *heads], lr=training.lr, weight_decay=training.weight_decay
    )
    tap = None if taught is None else graphkd.Tap(model, model.layers[taught.level])
    validation = batched(problem.held["val"], problem)
    loader: Any = _batches(problem, taught).loader() if problem.many else problem.learn
    losses = {} if taught is None else {"loss": taught.loss}
    checkpoint = Checkpoint(kept, model=model, optimizer=optimizer, **losses)
    found, state = Fitted(-float("inf"), -1, 0), {}
    if saved := checkpoint.read():
        found, state = Fitted(*saved["found"]), saved["state"]
    for epoch in range(found.epochs, training.epochs):
        model.train()
        for data in loader:
            z = model(data)
            chosen = rows(data, "train")
            loss = task_loss(z[chosen], data.y[chosen], problem)
            if taught is not None:
                loss = loss + distilled(taught, tap.value, data, z, loss)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        value = evaluate(model, problem, validation, "val")
        better = value > found.validation
        found = Fitted(value, epoch, epoch + 1) if better else found._replace(epochs=epoch + 1)
        state = copy.deepcopy(model.state_dict()) if better else state
        after_epoch(epoch)
        if epoch - found.epoch >= training.patience:
            break
        checkpoint.save(found=tuple(found), state=state)
    if tap is not None:
        tap.close()
    checkpoint.remove()
    if not state:
        raise FloatingPointError("No validation score is a number.")
    model.load_state_dict(state)
    return found._replace(earlier=checkpoint.earlier)


def _batches(problem: Problem, taught: Taught | None) -> Batches:
    if taught is None:
        return Batches(problem, [])
    return Batches(problem, ["z_t", *([f"h_{taught.level}"] if taught.method != "kd" else [])])


def distilled(taught: Taught, h_s: Tensor, data: Data, z: Tensor, task: Tensor) -> Tensor:
    """The sum of the losses; each takes the arguments that it names.

    The task's loss is what WeightedSum balances them against, if it does.

    Raises:
        FloatingPointError: If a loss refuses what a student that diverged has made.
    """
    arguments = {"h_s": h_s, "z_s": z, "z_t": data.z_t}
    if taught.level == "node":
        of_types = isinstance(data, HeteroData)
        arguments["edge_index"] = data.edge_index_dict if of_types else data.edge_index
        arguments |= {"batch": data.batch} if "batch" in data else {}
    if f"h_{taught.level}" in data:
        arguments["h_t"] = data[f"h_{taught.level}"]
    if taught.case.data is not None:
        arguments["h_s"], arguments["h_t"] = sides(taught.method, h_s, z, taught.case)
    if f"{taught.level}_id" in data and not isinstance(data, HeteroData):
        arguments["ids"] = data[f"{taught.level}_id"]
    for name, value in taught.given.items():
        arguments[name] = value() if callable(value) else value
    try:
        return taught.loss(**arguments, task_loss=task)[0]
    except ValueError as error:
        if z.isfinite().all():  # it is no fault of the numbers
            raise
        raise FloatingPointError(str(error)) from error
