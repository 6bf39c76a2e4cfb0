"""Graphs of several node types: one of them as a problem, R-GCNs, and losses by type.

The classified type is the one with labels. Labels and masks are of the graph as a whole, so that
it trains like any other graph: `data.y`, `data.train_mask`. The name of the type is `data.target`.
"""

import copy
import warnings
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric import transforms as T
from torch_geometric.data import Data, HeteroData
from torch_geometric.nn import HeteroConv, SAGEConv
from torch_geometric.nn.module_dict import ModuleDict
from torch_geometric.nn.resolver import normalization_resolver

import graphkd

from . import graphs, methods

# Data ---------------------------------------------------------------------------------------------


def papers() -> HeteroData:
    """Papers, authors, institutions and fields of study, each of one of six hidden classes.

    The layout is that of ogbn-mag. Only papers have features and a class. Nodes tend to be joined
    to nodes of their class, and features are mostly noise, so that neighbours matter.
    """
    rng = torch.Generator().manual_seed(0)
    sizes = {"paper": 3000, "author": 1500, "institution": 60, "field_of_study": 200}
    label = {name: torch.randint(6, (n,), generator=rng) for name, n in sizes.items()}

    def join(src: str, dst: str, edges: int, purity: float) -> Tensor:
        """Edges from random sources; a share of their targets has the source's class."""
        i = torch.randint(sizes[src], (edges,), generator=rng)
        j = torch.randint(sizes[dst], (edges,), generator=rng)
        for c in range(6):
            mine = label[src][i].eq(c) & (torch.rand(edges, generator=rng) < purity)
            alike = label[dst].eq(c).nonzero().view(-1)
            j[mine] = alike[torch.randint(alike.numel(), (int(mine.sum()),), generator=rng)]
        return torch.stack([i, j])

    data = HeteroData()
    for name, n in sizes.items():
        data[name].num_nodes = n
    words = torch.randn(6, 32, generator=rng)[label["paper"]]
    data["paper"].x = 0.4 * words + torch.randn(sizes["paper"], 32, generator=rng)
    data["paper"].y = label["paper"]
    order = torch.randperm(sizes["paper"], generator=rng)
    for name, part in zip(("train", "val", "test"), order.split([120, 880, 2000]), strict=True):
        data["paper"][f"{name}_mask"] = torch.isin(torch.arange(order.numel()), part)
    for (src, relation, dst), edges, purity in [
        (("author", "affiliated_with", "institution"), 1500, 0.4),
        (("author", "writes", "paper"), 7500, 0.6),
        (("paper", "cites", "paper"), 6000, 0.4),
        (("paper", "has_topic", "field_of_study"), 6000, 0.5),
    ]:
        data[src, relation, dst].edge_index = join(src, dst, edges, purity)
    return T.ToUndirected()(data)


def prepared(data: HeteroData, name: str) -> HeteroData:
    """A graph with node ids, features that are mostly 0 as sparse matrices, and `adj_t` by type.

    Models multiply with sparse matrices: on DBLP five times as fast, and no edge needs a row of its
    own. If a type is the end of no edges, all edges get their reverse. A type without edges goes.

    Raises:
        SystemExit: If no edges are left, or the classified type has none.
    """
    data = copy.copy(data)
    if len(data.node_types) == 1 and hasattr(data, "train_y"):  # PyG's Entities has them beside it
        for key in ("train_idx", "train_y", "test_idx", "test_y"):
            data.node_stores[0][key] = getattr(data, key)
            delattr(data, key)
    if not data.num_edges:
        raise SystemExit(f"{name} has several node types, but no edges to learn from.")
    joined = {end for src, _, dst in data.edge_types for end in (src, dst)}
    if (target := classified(data, name)) not in joined:
        raise SystemExit(f"{name}: nodes of the type {target} have labels, but no edges.")
    for lonely in {*data.node_types} - joined:
        del data[lonely]
    if {edge_type[2] for edge_type in data.edge_types} != set(data.node_types):
        data = T.ToUndirected()(data)
    for store in data.node_stores:
        store.n_id = torch.arange(store.num_nodes)
    adjacency = T.ToSparseTensor(attr=None, remove_edge_index=False, layout=torch.sparse_csr)
    with warnings.catch_warnings():  # torch's sparse tensors are in beta state
        warnings.simplefilter("ignore")
        for store in data.node_stores:
            if "x" in store and (store.x != 0).float().mean() < 0.1:
                store.x = store.x.to_sparse_csr()
        return adjacency(data)


def classified(data: HeteroData, name: str = "a graph") -> str:
    """The node type that has labels.

    Raises:
        SystemExit: If none has, or several have.
    """
    found = [name for name in data.node_types if {"y", "train_y"} & {*data[name].keys()}]
    if len(found) != 1:
        have = f"{' and '.join(found)} have" if found else "no node type has"
        raise SystemExit(f"One node type of {name} has to be classified, but {have} labels.")
    return found[0]


def labels(data: HeteroData) -> Data:
    """The labels and masks of the classified type, as a graph without edges."""
    store = data[classified(data)]
    result = Data(num_nodes=store.num_nodes)
    if "train_y" in store:  # labels of training and test nodes by their numbers
        result.y = torch.full((store.num_nodes,), -1)
        for part in ("train", "test"):
            result.y[store[f"{part}_idx"]] = store[f"{part}_y"].long()
            result[f"{part}_mask"] = torch.zeros(store.num_nodes, dtype=torch.bool)
            result[f"{part}_mask"][store[f"{part}_idx"]] = True
        return result
    result.y = graphs.of_nodes(store.y)
    return result.update({key: store[key] for key in store if key.endswith("_mask")})


def with_labels(data: HeteroData, split: Data) -> HeteroData:
    """A graph whose labels and masks are those of a split of its classified type."""
    data = copy.copy(data)
    data.target = classified(data)
    for key in ("y", "train_mask", "val_mask", "test_mask"):
        setattr(data, key, split[key])
    return data


# Models -------------------------------------------------------------------------------------------


class RGCN(nn.Module):
    """In each round one mean over neighbours per edge type, the results of which are averaged.

    Its output are the hidden states by node type, and the logits of the classified type. The layer
    `hidden` gives the hidden states of the last round, after normalisation and ReLU.
    """

    def __init__(
        self,
        data: HeteroData,
        target: str,
        outputs: int,
        width: int,
        layers: int,
        dropout: float,
        norm: str | None = None,
    ) -> None:
        super().__init__()
        self.target, self.encoders = target, ModuleDict()
        for name in data.node_types:
            if "x" in data[name]:
                self.encoders[name] = nn.Linear(data[name].num_features, width)
            else:  # a type without features learns an embedding
                self.encoders[name] = nn.Embedding(data[name].num_nodes, width)
        self.convs = nn.ModuleList(
            HeteroConv({edge: SAGEConv(width, width) for edge in data.edge_types}, aggr="mean")
            for _ in range(layers)
        )
        normal = partial(normalization_resolver, norm, width) if norm else nn.Identity
        self.norms = nn.ModuleList(
            ModuleDict({name: normal() for name in data.node_types}) for _ in range(layers)
        )
        self.out = nn.Linear(width, outputs)
        self.hidden, self.dropout = nn.Identity(), nn.Dropout(dropout)

    def forward(
        self, x_dict: dict[str, Tensor], edges: dict[Any, Tensor], types: Iterable[str] = ()
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Hidden states and logits.

        Args:
            x_dict: Features, or node ids of a type without features.
            edges: The edges by edge type, in any format of PyG's.
            types: The node types whose hidden states are asked for, beside the classified type's;
                by default all. What they do not need is not computed.
        """
        asked, rounds = {self.target, *(types or self.encoders)}, []
        for _ in self.convs:
            rounds.append({key: value for key, value in edges.items() if key[2] in asked})
            asked |= {edge_type[0] for edge_type in rounds[-1]}
        h = {name: encode(x_dict[name]) for name, encode in self.encoders.items()}
        for conv, norm, needed in zip(self.convs, self.norms, reversed(rounds), strict=True):
            h = conv({name: self.dropout(x.relu()) for name, x in h.items()}, needed)
            h = {name: norm[name](x) for name, x in h.items()}
        h = self.hidden({name: x.relu() for name, x in h.items()})
        return h, self.out(self.dropout(h[self.target]))


class OfTypes(nn.Module):
    """An R-GCN, for labels of one node type."""

    def __init__(self, gnn: RGCN) -> None:
        super().__init__()
        self.gnn, self.layers = gnn, {"node": "gnn.hidden"}
        self.widths = {"node": gnn.out.in_features}
        self.types: set[str] = {gnn.target}  # whose hidden states are asked for

    def forward(self, data: HeteroData) -> Tensor:
        x_dict = {**data.n_id_dict, **data.collect("x", allow_empty=True)}
        return self.gnn(x_dict, data.adj_t_dict, self.types)[1]


# Distillation -------------------------------------------------------------------------------------


def taught(data: HeteroData, teacher: OfTypes, folder: Path) -> HeteroData:
    """A graph with the teacher's outputs: `h_node`, a dictionary by node type, and `z_t`."""

    def apply(model: nn.Module, data: HeteroData) -> dict[str, Tensor]:
        return {data.target: model(data)}

    layer, data = teacher.layers["node"], copy.copy(data)
    teacher.types = {*data.node_types}
    folder.mkdir(parents=True, exist_ok=True)
    rows = {
        name: graphkd.TeacherStore.build(
            folder / str(number), teacher, data, layer, torch.float32, apply, node_type=name,
            progress=False,
        )[:]
        for number, name in enumerate(data.node_types)
    }  # fmt: skip
    data.h_node, data.z_t = {name: row.h for name, row in rows.items()}, rows[data.target].z
    return data


class ByType(nn.Module):
    """A HeteroLoss whose logits, and arguments beyond the outputs, are of the classified type.

    Attributes:
        types: The node types whose hidden states it compares.
    """

    def __init__(self, losses: dict[Any, Any], data: HeteroData) -> None:
        super().__init__()
        self.loss = graphkd.HeteroLoss(losses, metadata=data.metadata())
        edge_types = [key for key in losses if not isinstance(key, str)]
        self.target = data.target
        self.types = {data.target, *(edge_type[0] for edge_type in edge_types)}

    def forward(
        self, h_s: dict[str, Tensor], h_t: dict[str, Tensor], edge_index: Any, **more: Any
    ) -> tuple[Tensor, Any]:
        by_type = {name: {self.target: value} for name, value in more.items()}
        return self.loss(h_s, h_t, edge_index, **by_type)


def objective(
    method: str, settings: methods.Settings, case: methods.Case, data: HeteroData
) -> tuple[ByType, dict[str, Any]]:
    """As methods.objective. LSP is one loss for each edge type that ends in the classified type.

    These share the weight of LSP. All other losses compare the nodes of the classified type.
    """
    terms, given = methods.terms(method, settings, case)
    by_type: dict[Any, Any] = {}
    if "lsp" in terms:
        weight, lsp = terms.pop("lsp")
        edge_types = [edge_type for edge_type in data.edge_types if edge_type[2] == data.target]
        by_type = {edge_type: (weight / len(edge_types), lsp) for edge_type in edge_types}
    if terms:
        by_type[data.target] = terms
    return ByType(by_type, data), given
