"""Data sets of many graphs, in one form: features, edges, and labels of graphs or of their nodes.

Whole numbers as features are categories, except for labels of nodes, and if any is negative. A
class is a whole number, and -1 if it is unknown. Several labels, and numbers to predict, are the
columns of a matrix.
"""

import warnings
from typing import Any

import torch
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch_geometric import transforms as T
from torch_geometric.data import Data
from torch_geometric.utils import degree

PARTS = ("train", "val", "test")
MOST_EDGES = 100  # of a node without features: its degree, up to this, is its category
MOST_CODES = 10_000  # categories of a column; more of them are numbers
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
    complete(name, every)
    per_graph = all(graph.y.dim() == 0 or graph.y.size(0) == 1 for graph in every)
    per_node = all(graph.y.dim() > 0 and graph.y.size(0) == graph.num_nodes for graph in every)
    if not (per_graph or per_node):
        raise SystemExit(f"{name}: `y` has a row neither for each graph nor for each node.")
    columns = {what: _columns(name, every, what) for what in ("x", "edge_attr")}
    if not per_graph and columns["x"] is None:
        raise SystemExit(f"{name}: nodes have labels but no features `x`.")
    y = labels(torch.cat([graph.y.view(1) if graph.y.dim() == 0 else graph.y for graph in every]))
    own = y.split([1 if per_graph else graph.num_nodes for graph in every])
    alike = [Data(edge_index=graph.edge_index, y=y) for graph, y in zip(every, own, strict=True)]
    x = columns["x"] or [_degrees(graph) for graph in every]
    for i, data in enumerate(alike):
        data.x = x[i] if per_graph else x[i].float()
        if per_graph and columns["edge_attr"] is not None:
            data.edge_attr = columns["edge_attr"][i]
    if not per_graph:
        with warnings.catch_warnings():  # torch's sparse tensors are in beta state
            warnings.simplefilter("ignore")
            alike = [T.SIGN(hops)(graph) for graph in alike]
    rest = iter(alike)
    return {part: [next(rest) for _ in graphs] for part, graphs in parts.items()}


def complete(name: str, graphs: list[Any]) -> None:
    """Refuse graphs without edges or without labels."""
    for what in ("edge_index", "y"):
        if not all(isinstance(graph.get(what), Tensor) for graph in graphs):
            who = "some graphs have" if len(graphs) > 1 else "its graph has"
            raise SystemExit(f"{name}: {who} no tensor `{what}`.")


def finite(name: str, what: str, values: Tensor) -> None:
    """Refuse features that no model can learn from."""
    # The values of a sparse matrix in any layout; those that it lacks are 0.
    stored = (
        values if values.layout == torch.strided else values.to_sparse_coo().coalesce().values()
    )
    if not stored.isfinite().all():
        raise SystemExit(f"{name}: `{what}` holds NaN or infinity: replace them in its files.")


def _columns(name: str, graphs: list[Data], what: str) -> list[Tensor] | None:
    """Features of nodes or edges as matrices, if all graphs have them."""
    every = [graph.get(what) for graph in graphs]
    if not all(isinstance(values, Tensor) and 0 not in values.shape[1:] for values in every):
        return None
    every = [values.view(-1, 1) if values.dim() == 1 else values for values in every]
    if len({values.size(1) for values in every}) > 1:
        raise SystemExit(f"{name}: `{what}` has not as many columns in all graphs.")
    columns = torch.cat(every)
    finite(name, what, columns)
    codes = columns.numel() and not columns.is_floating_point()
    of_numbers = not codes or not 0 <= columns.min() <= columns.max() < MOST_CODES
    columns = columns.float() if of_numbers else columns.long()
    return [*columns.split([len(values) for values in every])]


def _degrees(graph: Data) -> Tensor:
    count = degree(graph.edge_index[1], graph.num_nodes, torch.long)
    return count.clamp(max=MOST_EDGES).view(-1, 1)


def labels(y: Tensor) -> Tensor:
    """Classes as a vector of whole numbers, all else as a matrix. Those below -1 are no classes."""
    if not y.is_floating_point():
        y = y.long()
        y = y.masked_fill(y == -100, -1)  # which torch's losses leave out
    known = y[~y.isnan()]
    one = y.dim() == 1 or (y.size(1) == 1 and not y.is_floating_point() and bool((known > 1).any()))
    if one and bool(((known == known.round()) & (known >= -1)).all()):
        return y.view(-1).nan_to_num(-1).long()
    y = y.view(len(y), -1)
    return y.float() if y.is_floating_point() else y


def of_nodes(y: Tensor) -> Tensor:
    """The same of one graph's nodes, where a matrix of one column is a vector."""
    return labels(y.view(-1) if y.dim() == 2 and y.size(1) == 1 else y)


def are_yes_or_no(y: Tensor) -> bool:
    """Whether the columns of a matrix are labels that hold or do not, rather than numbers."""
    return bool(((y == 0) | (y == 1) | y.isnan()).all())


def divided(parts: dict[str, list[Data]], seed: int, per_graph: bool) -> dict[str, list[Data]]:
    """Graphs divided 80:10:10, or a tenth of those that train to validate if only test graphs are
    given; test graphs are the same for all seeds.

    Each part has its share of each class, or of the first of several labels. This does not hold for
    numbers and for rare classes.
    """
    graphs = parts.get("all") or parts["train"]
    strata = None
    if per_graph:
        first = torch.stack([graph.y.view(-1)[0].nan_to_num() for graph in graphs])
        values, counts = first.unique(return_counts=True)
        if len(values) < len(graphs) / 20 and counts.min() >= RAREST:
            strata = first.tolist()
    size, rest, test = max(1, len(graphs) // 10), [*range(len(graphs))], parts.get("test")
    if test is None:
        rest, ids = _cut(rest, size, 12345, strata)
        test = [graphs[i] for i in ids]
    train, val = ([graphs[i] for i in ids] for ids in _cut(rest, size, seed, strata))
    return {"train": train, "val": val, "test": test}


def _cut(ids: list[int], size: int, seed: int, strata: list[float] | None) -> list[list[int]]:
    stratify = None if strata is None else [strata[i] for i in ids]
    return train_test_split(ids, test_size=size, random_state=seed, stratify=stratify)
