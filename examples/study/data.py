"""Data sets by name, as files.py has it: what their labels ask for, splits, graphs to learn from.

"Cora[noise=0.4]" is Cora after a corruption of corrupt.py, "Cora[labelled=5]" the same graph with
five labels of each class.
"""

import copy
import re
import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch_geometric import transforms as T
from torch_geometric.data import Data, HeteroData

from . import graphs, hetero, points
from .corrupt import corrupted
from .files import read
from .graphs import PARTS, are_yes_or_no
from .names import named
from .splits import fewer, known, shuffled, split

LABELLED = 20  # nodes of a class, if there is no split
# Wider features become the components of a truncated SVD.
WIDEST, COMPONENTS = 5000, 256
FEWEST = 10  # graphs, if they have to be divided
HOPS = 2  # of the features that SIGN precomputes


class Problem(NamedTuple):
    """What models learn under one seed, and what they are scored on."""

    # "multiclass", "binary" (two logits), "multilabel", "regression", or "segmentation" of points
    kind: str
    outputs: int
    learn: list[Data]  # the graphs to learn from, all of which the teacher teaches
    held: dict[str, list[Data]]  # graphs by part: "val", "test", perhaps "test_seen"
    per_graph: bool = False  # whether a label belongs to a graph
    batch: int = 64  # graphs in a step, if there are many
    center: Tensor | float = 0.0  # of the training labels, if they are numbers, by column
    spread: Tensor | float = 1.0
    # The teacher's outputs for rows of `learn`, by name and row number, if there are many graphs.
    taught: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType({})

    @property
    def task(self) -> str:
        """What a model has to be for: "node", "graph", "hetero" or "points"."""
        if isinstance(self.learn[0], HeteroData):
            return "hetero"
        return "graph" if self.per_graph else "points" if self.kind == "segmentation" else "node"

    @property
    def level(self) -> str:
        """ "node" or "graph": what has labels, and which rows of a model are compared."""
        return "graph" if self.per_graph else "node"

    @property
    def many(self) -> bool:
        """Whether there are many graphs, as there are if each has a label."""
        return len(self.learn) > 1 or self.per_graph

    @property
    def tasks(self) -> set[str]:
        """The tasks whose models fit: if nodes have labels, also that of one or many graphs."""
        own = "nodes of many graphs" if self.many else "nodes of one graph"
        return {self.task} | ({own} if self.task == "node" else set())

    @property
    def features(self) -> int:
        first = self.learn[0]
        return (first[first.target] if isinstance(first, HeteroData) else first).num_features


def rows(data: Data, part: str) -> Tensor | slice:
    """The rows of a graph or batch that belong to a part: those of a mask, or all."""
    return data[f"{part}_mask"] if f"{part}_mask" in data else slice(None)


def features(name: str, x: Tensor) -> Tensor:
    """Rows of numbers that sum to 1 if they are bags of words, and that are not too wide."""
    x = (x.view(-1, 1) if x.dim() == 1 else x).float()
    if x.layout != torch.strided:
        x = x.to_dense() if x.size(1) <= WIDEST else x.to_sparse_coo().coalesce()
    graphs.finite(name, "x", x)
    if x.is_sparse:
        return reduced(_shares(x))
    if (x >= 0).all() and (x == 0).float().mean() > 0.9:
        x = T.NormalizeFeatures()(Data(x=x)).x
    return reduced(x)


def _shares(x: Tensor) -> Tensor:
    """The rows of a sparse matrix, which sum to 1 if they are bags of words."""
    values, (row, _) = x.values(), x.indices()
    if values.numel() > 0.1 * x.numel() or (values < 0).any():
        return x
    sums = torch.zeros(x.size(0)).index_add_(0, row, values).clamp(min=1)  # as NormalizeFeatures
    return torch.sparse_coo_tensor(x.indices(), values / sums[row], x.shape)


def reduced(x: Tensor) -> Tensor:
    """The components of a truncated SVD, if there are more than 5,000 features."""
    if x.size(1) <= WIDEST:
        return x
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return x @ torch.svd_lowrank(x, q=min(COMPONENTS, len(x)))[2]


@lru_cache(maxsize=2)
def load(name: str, root: str) -> dict[str, list[Any]]:
    """The graphs of a data set: under "all", or by part if it comes in parts.

    Raises:
        SystemExit: If no such set is known, or its files are neither there nor to be had.
    """
    parts = read(name, root)
    if not all(parts.values()):
        raise SystemExit(
            f"{name}: no graphs are in {' and '.join(p for p in parts if not parts[p])}."
        )
    return {part: [_ready(name, graph) for graph in of_part] for part, of_part in parts.items()}


def _ready(name: str, graph: Any) -> Any:
    """A graph as models take it: whatever is the same under every seed."""
    if not isinstance(graph, Data | HeteroData):
        raise SystemExit(f"{name} holds no graphs of nodes, but {type(graph).__name__}.")
    if isinstance(graph, HeteroData):
        for store in graph.node_stores:
            if "x" in store and 0 in store.x.shape[1:]:
                store.num_nodes = store.num_nodes
                del store.x
            elif "x" in store:
                store.x = features(name, store.x)
        return hetero.prepared(graph, name)
    return points.neighbours(graph) if points.unconnected(graph) else graph


def problem(name: str, root: str, seed: int, setting: str = "transductive") -> Problem:
    """A data set as its task, split for a seed.

    Args:
        name: The name of the data set.
        root: The folder with the files of all data sets.
        seed: Chooses the training and validation rows, if the data set does not. Test rows are the
            same for all seeds, so that no choice on validation rows has seen a test label.
        setting: "transductive", or "production": a fifth of the nodes, all of them test nodes, is
            unseen in training and scored as "test". The other test nodes are "test_seen".
    """
    if not re.fullmatch(r"[^][]+(\[\w+=[\w.]+(,\w+=[\w.]+)*\])?", name):
        raise SystemExit(f"{name} is not NAME or NAME[CHANGE=VALUE,...], as in Cora[noise=0.4].")
    name, changes = named(name)
    parts = load(name, root)
    first = next(iter(parts.values()))[0]
    of_types = isinstance(first, HeteroData)
    if "all" in parts and len(parts["all"]) == 1 and not of_types:
        return _checked(name, _one_graph(name, root, seed, setting, changes))
    if changes:
        raise SystemExit(f"{name} is not one graph of one node type: it cannot be changed.")
    if of_types:
        return _checked(name, _typed_graph(name, parts, seed, setting))
    if setting != "transductive":
        raise SystemExit(f"{name} has many graphs: its test graphs are unseen in any case.")
    if points.are_classified(first) and {*parts} == {*PARTS}:
        return _checked(name, _blocks(parts, seed))
    return _checked(name, _many_graphs(name, root, seed))


def _checked(name: str, found: Problem) -> Problem:
    """The same with the scale of its labels, if they are numbers.

    Raises:
        SystemExit: If a part has no labels, or training rows have those of one class only.
    """
    parts = {"train": found.learn, **found.held}
    of_part = {p: torch.cat([data.y[rows(data, p)] for data in parts[p]]) for p in parts}
    if empty := [part for part, y in of_part.items() if not known(y).any()]:
        raise SystemExit(f"{name}: too few rows have labels, none in {' and '.join(empty)}.")
    y = of_part["train"]
    if y.dim() == 1 and (classes := y[known(y)]).min() == classes.max():
        raise SystemExit(
            f"{name}: all training rows have class {classes[0]}, and -1 means unknown: "
            "number its classes from 0."
        )
    if found.kind != "regression":
        return found
    center = y.float().nanmean(dim=0)
    spread = (y - center).square().nanmean(dim=0).sqrt()
    return found._replace(center=center, spread=spread.where(spread > 0, 1.0))


def _split(name: str, data: Data, seed: int, labelled: int) -> Data:
    """As splits.split; a class outside all parts, as of unknown nodes, is no class of the task."""
    for what in ("y", *(f"{part}_mask" for part in PARTS)):
        if what in data and len(data[what]) != data.num_nodes:
            raise SystemExit(f"{name}: it is one graph, but `{what}` has no row for each node.")
    data = split(data, seed, labelled)
    if data.y.dim() == 1:
        data.y = data.y.where(data.train_mask | data.val_mask | data.test_mask, -1)
    return data


def _one_graph(name: str, root: str, seed: int, setting: str, changes: dict[str, float]) -> Problem:
    given = changes.pop("labelled", None)
    if given is not None:
        _check_labelled(name, given, _prepared(name, root).y)
    labelled = given or (5 if name == "Digits" else LABELLED)
    # Degrees that are noise, or masked, stay so.
    described = copy.copy if {"noise", "mask"} & changes.keys() else _described
    plain = _split(name, _prepared(name, root), seed, labelled)
    whole = plain if changes else _split(name, _with_hops(name, root), seed, labelled)
    if given is not None:
        plain, whole = fewer(plain, given, seed), fewer(whole, given, seed)
    if changes:
        plain = corrupted(plain, changes, seed)
        plain = described(plain)
        whole = _add_hops(copy.copy(plain))
    kind, outputs = _task(whole.y)
    if setting == "transductive":
        return Problem(kind, outputs, [whole], {"val": [whole], "test": [whole]})
    test = whole.test_mask.nonzero().view(-1)
    fifth = min(whole.num_nodes // 5, test.numel() // 2)
    unseen = torch.zeros_like(whole.test_mask)
    unseen[shuffled(test, torch.Generator().manual_seed(seed))[:fifth]] = True
    learn = _add_hops(described(plain.subgraph(~unseen)))
    whole.test_seen_mask, whole.test_mask = whole.test_mask & ~unseen, unseen
    return Problem(kind, outputs, [learn], {"val": [learn], "test": [whole], "test_seen": [whole]})


def _check_labelled(name: str, labelled: Any, y: Tensor) -> None:
    if type(labelled) is not int or labelled < 1:
        raise SystemExit(f"{name}[labelled={labelled}]: it is a number of nodes, at least 1.")
    if y.dim() > 1 or y.is_floating_point():
        raise SystemExit(f"{name} has no classes, whose labelled nodes could be counted.")


@lru_cache(maxsize=2)
def _prepared(name: str, root: str) -> Data:
    data = copy.copy(load(name, root)["all"][0])
    graphs.complete(name, [data])
    data.y = graphs.of_nodes(data.y)
    if data.x is None and len(data.y) > data.num_nodes:  # the last nodes have no edges
        data.num_nodes = len(data.y)
    data.pop("edge_weight", None)  # of the models, one alone would see it
    if data.x is None or 0 in data.x.shape[1:]:
        return _described(data.update({"has_features": False}))
    data.x = features(name, data.x)
    return data


def _described(data: Data) -> Data:
    """A node without features is described by its degree and its neighbours', as the edges are."""
    if "has_features" not in data:
        return data
    data = T.LocalDegreeProfile()(copy.copy(data).update({"x": None}))
    return data.update({"x": features("", data.x)})


@lru_cache(maxsize=2)
def _with_hops(name: str, root: str) -> Data:
    return _add_hops(copy.copy(_prepared(name, root)))


def _typed_graph(name: str, graphs: dict[str, list[Any]], seed: int, setting: str) -> Problem:
    """One graph of several node types, one of which is classified."""
    if setting != "transductive" or len(graphs.get("all", ())) != 1:
        raise SystemExit(f"{name} has several node types: it has to be one graph, transductive.")
    (data,) = graphs["all"]
    data = hetero.with_labels(data, _split(name, hetero.labels(data), seed, LABELLED))
    kind, outputs = _task(data.y)
    return Problem(kind, outputs, [data], {"val": [data], "test": [data]})


def _blocks(graphs: dict[str, list[Data]], seed: int) -> Problem:
    """Blocks of points, each of which has a class."""
    _, outputs = _task(torch.cat([data.y for part in PARTS for data in graphs[part]]))
    learn, held = points.labelled(graphs["train"], seed), {p: graphs[p] for p in ("val", "test")}
    return Problem("segmentation", outputs, learn, held, batch=points.BATCH)


def _add_hops(data: Data) -> Data:
    """Add the features of SIGN's hops, and the matrix that GraphSAGE multiplies them with.

    The mean over neighbours of wide features is three times faster with it.
    """
    with warnings.catch_warnings():  # torch's sparse tensors are in beta state
        warnings.simplefilter("ignore")
        data.adj_t = T.ToSparseTensor(layout=torch.sparse_csr)(copy.copy(data)).adj_t
        return T.SIGN(HOPS)(data)


@lru_cache(maxsize=2)
def _uniform(name: str, root: str) -> dict[str, list[Data]]:
    return graphs.uniform(name, load(name, root), HOPS)


def _many_graphs(name: str, root: str, seed: int) -> Problem:
    """Graphs in the parts they have, or divided 80:10:10 with the same test graphs for all."""
    parts = _uniform(name, root)
    every = [graph for part in parts.values() for graph in part]
    per_graph = all(graph.y.size(0) == 1 for graph in every)
    kind, outputs = _task(torch.cat([graph.y for graph in every]))
    if "val" not in parts:
        if len(every) < FEWEST:
            raise SystemExit(f"{name} has {len(every)} graphs: to divide them takes {FEWEST}.")
        parts = graphs.divided(parts, seed, per_graph)
    learn, held = parts["train"], {part: parts[part] for part in ("val", "test")}
    # If nodes have labels, one graph has many of them; an epoch shall have ten steps.
    batch = 64 if per_graph else max(1, min(64, len(learn) // 10))
    return Problem(kind, outputs, learn, held, per_graph, batch)


def _task(y: Tensor) -> tuple[str, int]:
    """What labels ask for, and how many outputs that takes."""
    if y.dim() == 2:
        return ("multilabel" if are_yes_or_no(y) else "regression"), y.size(1)
    outputs = int(y.max()) + 1
    return ("binary" if outputs == 2 else "multiclass"), outputs
