"""Models by name: PyG's, from a problem and their options, with the layers that may be distilled.

`layers` of a model names its hidden layers for graphkd.Tap: "node" for rows of nodes, and "graph"
for rows of graphs if it has them; `widths` holds their widths. As in the paper, the hidden state is
the last one, after normalisation, ReLU and dropout. PyG's GNNs call their one module `dropout`
after each hidden layer, so that its latest output is this one.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import MLP, GINConv, GINEConv, MeanAggregation
from torch_geometric.nn.models import GAT, GCN, GIN, PNA, GraphSAGE
from torch_geometric.nn.models.basic_gnn import BasicGNN
from torch_geometric.nn.resolver import normalization_resolver
from torch_geometric.utils import degree

from .data import HOPS, Problem
from .hetero import RGCN, OfTypes
from .points import CONVS, OfPoints, PointGNN

Model = nn.Module  # model(data) gives logits


class OfNodes(nn.Module):
    """One of PyG's GNNs, for labels of nodes."""

    def __init__(self, gnn: BasicGNN) -> None:
        super().__init__()
        self.gnn, self.layers = gnn, {"node": "gnn.dropout"}
        self.widths = {"node": gnn.hidden_channels}

    def forward(self, data: Data) -> Tensor:
        sparse = isinstance(self.gnn, GraphSAGE) and "adj_t" in data
        return self.gnn(data.x, data.adj_t if sparse else data.edge_index)


class OfRows(nn.Module):
    """An MLP with one hidden layer on the features of each node, and for SIGN on those of hops.

    The hidden layer holds as many units for each hop as for the features themselves.
    """

    def __init__(
        self, features: int, width: int, outputs: int, dropout: float, norm: str | None, hops: int
    ) -> None:
        super().__init__()
        self.names = ["x", *(f"x{k}" for k in range(1, hops + 1))]
        self.inputs = nn.ModuleList(nn.Linear(features, width) for _ in self.names)
        hidden = width * len(self.names)
        self.norm = normalization_resolver(norm, hidden) if norm else nn.Identity()
        self.act = nn.Sequential(nn.ReLU(), nn.Dropout(dropout))
        self.out = nn.Linear(hidden, outputs)
        self.layers, self.widths = {"node": "act"}, {"node": hidden}

    def forward(self, data: Data) -> Tensor:
        parts = zip(self.inputs, self.names, strict=True)
        h = torch.cat([layer(data[name]) for layer, name in parts], dim=1)
        return self.out(self.act(self.norm(h)))


class WideGIN(BasicGNN):
    """PyG's GIN, with hidden layers of twice the width inside its layers."""

    supports_edge_weight, supports_edge_attr = False, False
    conv: type[nn.Module] = GINConv

    def init_conv(self, in_channels: int, out_channels: int, **kwargs: Any) -> nn.Module:
        return self.conv(MLP([in_channels, 2 * out_channels, out_channels]), **kwargs)


class GINE(WideGIN):
    """The same with edge features."""

    supports_edge_attr = True
    conv = GINEConv


class Codes(nn.Module):
    """The sum of the embeddings of several columns of categories."""

    def __init__(self, sizes: Tensor, width: int) -> None:
        super().__init__()
        self.register_buffer("first", sizes.cumsum(0) - sizes)
        self.embedding = nn.EmbeddingBag(int(sizes.sum()), width, mode="sum")

    def forward(self, codes: Tensor) -> Tensor:
        return self.embedding(codes + self.first)


class OfGraphs(nn.Module):
    """One of PyG's GNNs, the mean of its rows in each graph, and a linear layer for labels.

    Without `encode_edges`, the GNN sees no features of edges.
    """

    def __init__(
        self, gnn: BasicGNN, encode: nn.Module, encode_edges: nn.Module | None, outputs: int
    ) -> None:
        super().__init__()
        self.encode, self.gnn, self.encode_edges = encode, gnn, encode_edges
        self.pool, self.predict = MeanAggregation(), nn.Linear(gnn.out_channels, outputs)
        self.layers = {"node": "gnn", "graph": "pool"}
        self.widths = dict.fromkeys(self.layers, gnn.out_channels)

    def nodes(self, data: Data) -> Tensor:
        """The hidden states of all nodes."""
        edges = {}
        if self.encode_edges is not None:
            edges["edge_attr"] = self.encode_edges(data.edge_attr)
        return self.gnn(self.encode(data.x), data.edge_index, **edges)

    def forward(self, data: Data) -> Tensor:
        pooled = self.pool(self.nodes(data), data.batch, dim_size=data.num_graphs)
        return self.predict(pooled)


def encoder(values: Tensor, width: int) -> nn.Module:
    """Embeddings of columns of categories, or a linear layer for numbers."""
    if values.is_floating_point():
        return nn.Linear(values.size(1), width)
    return Codes(values.amax(0) + 1, width)


GNNS: dict[str, Callable[..., BasicGNN]] = {
    "GAT": GAT, "GCN": GCN, "GIN": GIN, "GINE": GINE, "PNA": PNA, "GraphSAGE": GraphSAGE,
}  # fmt: skip
NAMES = [*GNNS, "MLP", "SIGN", "RGCN", *CONVS]


def build(name: str, problem: Problem, options: dict[str, Any]) -> Model:
    """A new model.

    Args:
        name: One of NAMES.
        problem: Decides the widths of inputs and outputs, and whether labels are of graphs.
        options: "width", "dropout", "norm", for a GNN "layers" and other arguments of its class.
    """
    options = dict(options)
    width, dropout = options.pop("width"), options.pop("dropout")
    if name in ("MLP", "SIGN"):
        hops = HOPS if name == "SIGN" else 0
        return OfRows(problem.features, width, problem.outputs, dropout, options["norm"], hops)
    if name == "RGCN":
        (data,) = problem.learn
        return OfTypes(RGCN(data, data.target, problem.outputs, width, dropout=dropout, **options))
    if name in CONVS:
        options |= {"outputs": problem.outputs, "dropout": dropout}
        return OfPoints(PointGNN(name, problem.features, width, **options))
    options |= {"num_layers": options.pop("layers"), "dropout": dropout}
    if name == "PNA":
        options |= {"aggregators": ["mean", "min", "max", "std"], "deg": degrees(problem.learn)}
        options |= {"scalers": ["identity", "amplification", "attenuation"]}
    make = GNNS[name]
    if not problem.per_graph:
        return OfNodes(make(problem.features, width, out_channels=problem.outputs, **options))
    every = [*problem.learn, *(data for graphs in problem.held.values() for data in graphs)]
    edges = None
    if make.supports_edge_attr and "edge_attr" in every[0]:
        edges = encoder(torch.cat([data.edge_attr for data in every]), width)
        options |= {"edge_dim": width} if name in ("GAT", "PNA") else {}
    elif name == "GINE":
        make = WideGIN
    # With "last" of jumping knowledge, the last layer has its norm, ReLU and dropout, too. The
    # linear layer that follows it would only add to the one of OfGraphs.
    gnn = make(width, width, jk="last", **options)
    gnn.lin = nn.Identity()
    nodes = encoder(torch.cat([data.x for data in every]), width)
    return OfGraphs(gnn, nodes, edges, problem.outputs)


def degrees(graphs: list[Data]) -> Tensor:
    """How many nodes have 0, 1, 2, ... incoming edges."""
    counts = [degree(data.edge_index[1], data.num_nodes, torch.long) for data in graphs]
    return torch.bincount(torch.cat(counts))


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
