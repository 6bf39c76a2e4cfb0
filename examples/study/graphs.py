"""Data sets of many graphs, in one form: features, edges, and labels of graphs or of their nodes.

Whole numbers as features are categories, except for labels of nodes. A class is a whole number, and
-1 if it is unknown. Several labels, and numbers to predict, are the columns of a matrix.
"""

from typing import Any

import torch
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch_geometric import transforms as T
from torch_geometric.data import Data
from torch_geometric.utils import degree

PARTS = ("train", "val", "test")
MOST_EDGES = 100  # of a node without features: its degree, up to this, is its category
# A class with fewer graphs cannot be divided by its share.
RAREST = 10


def uniform(name: str, parts: dict[str, list[Any]], hops: int) -> dict[str, list[Data]]:
    """The graphs with `x`, `edge_index`, `edge_attr` if they have it, and `y`.

    Args:
        name: The name of the data set, for messages.
        parts: Its graphs, under "all" or by part.
        hops: Of the features for SIGN, which graphs get if labels belong to nodes.

    Raises:
        SystemExit: If models of this study cannot learn from such graphs.
    """
    every = [graph for graphs in parts.values() for graph in graphs]
    for what in ("edge_index", "y"):
        if not all(isinstance(graph.get(what), Tensor) for graph in every):
            raise SystemExit(f"{name}: some graphs have no tensor `{what}`.")
    per_graph = all(graph.y.dim() == 0 or graph.y.size(0) == 1 for graph in every)
    per_node = all(graph.y.dim() > 0 and graph.y.size(0) == graph.num_nodes for graph in every)
    if not (per_graph or per_node):
        raise SystemExit(f"{name}: `y` has a row neither for each graph nor for each node.")
    if not per_graph and not all(isinstance(graph.x, Tensor) for graph in every):
        raise SystemExit(f"{name}: nodes have labels but no features `x`.")
    y = _labels(torch.cat([graph.y.view(1) if graph.y.dim() == 0 else graph.y for graph in every]))
    own = y.split([1 if per_graph else graph.num_nodes for graph in every])
    alike = [_uniform(graph, y, per_graph) for graph, y in zip(every, own, strict=True)]
    if not per_graph:
        alike = [T.SIGN(hops)(graph) for graph in alike]
    rest = iter(alike)
    return {part: [next(rest) for _ in graphs] for part, graphs in parts.items()}


def _uniform(graph: Data, y: Tensor, per_graph: bool) -> Data:
    if graph.get("x") is None:
        count = degree(graph.edge_index[1], graph.num_nodes, torch.long)
        x = count.clamp(max=MOST_EDGES).view(-1, 1)
    else:
        x = _columns(graph.x)
    data = Data(x=x if per_graph else x.float(), edge_index=graph.edge_index, y=y)
    if per_graph and isinstance(graph.get("edge_attr"), Tensor):
        data.edge_attr = _columns(graph.edge_attr)
    return data


def _columns(values: Tensor) -> Tensor:
    values = values.view(-1, 1) if values.dim() == 1 else values
    return values.float() if values.is_floating_point() else values.long()


def _labels(y: Tensor) -> Tensor:
    """Classes as a vector of whole numbers, all else as a matrix."""
    known = y[~y.isnan()]
    one = y.dim() == 1 or (y.size(1) == 1 and not y.is_floating_point() and bool((known > 1).any()))
    if one and bool((known == known.round()).all()):
        return y.view(-1).nan_to_num(-1).long()
    y = y.view(len(y), -1)
    return y.float() if y.is_floating_point() else y


def divided(graphs: list[Data], seed: int, per_graph: bool) -> dict[str, list[Data]]:
    """Graphs divided 80:10:10; test graphs are the same for all seeds.

    Each part has its share of each class, or of the first of several labels. This does not hold for
    numbers and for rare classes.
    """
    strata = None
    if per_graph:
        first = torch.stack([graph.y.view(-1)[0].nan_to_num() for graph in graphs])
        values, counts = first.unique(return_counts=True)
        if len(values) < len(graphs) / 20 and counts.min() >= RAREST:
            strata = first.tolist()
    size = max(1, len(graphs) // 10)
    rest, test = _cut([*range(len(graphs))], size, 12345, strata)
    train, val = _cut(rest, size, seed, strata)
    numbers = zip(PARTS, (train, val, test), strict=True)
    return {part: [graphs[i] for i in ids] for part, ids in numbers}


def _cut(ids: list[int], size: int, seed: int, strata: list[float] | None) -> list[list[int]]:
    stratify = None if strata is None else [strata[i] for i in ids]
    return train_test_split(ids, test_size=size, random_state=seed, stratify=stratify)
