"""Point clouds: tiles of points, cut into blocks, each with its graph, and models of points.

A set has six tiles. Four train, one validates, one tests. Its name is a key of SETS.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.neighbors import kneighbors_graph
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.datasets import S3DIS
from torch_geometric.nn import MLP, EdgeConv, PointNetConv, global_max_pool
from torch_geometric.utils import from_scipy_sparse_matrix

SIZE, POINTS = 10.0, 512  # of a block of a tile, in metres, and the points that are kept
NEIGHBOURS = 8
LABELLED = 0.1  # of the training points
BATCH = 4  # blocks in a step

# Data ---------------------------------------------------------------------------------------------


def generate(
    seed: int, size: float = 30.0, density: int = 8
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A tile: positions in metres, features, and labels (ground, vegetation, building)."""
    rng = np.random.default_rng(seed)
    slope, phase = rng.uniform(0.05, 0.15, 2), rng.uniform(0, 6)

    def ground(xy: np.ndarray) -> np.ndarray:
        return 2 * np.sin(xy @ slope + phase)

    xy = rng.uniform(0, size, (int(density * size**2), 2))
    parts = [(np.c_[xy, ground(xy)], 0)]
    for _ in range(18):  # crowns and bushes: balls that stand on the ground or above
        radius, xy = rng.uniform(0.5, 3), rng.uniform(0, size, 2)
        ball = rng.normal(size=(int(4 * density * radius**2), 3))
        ball *= radius * rng.uniform(0.6, 1, (len(ball), 1)) / np.linalg.norm(ball, axis=1)[:, None]
        parts.append((ball + np.array([*xy, ground(xy) + rng.uniform(1, 2) * radius]), 1))
    for _ in range(4):  # buildings: boxes, whose roof (axis 2) and walls are visible
        edges, xy = rng.uniform((5, 5, 2.5), (12, 12, 7)), rng.uniform(0, size, 2)
        box = rng.uniform(0, 1, (int(2 * density * edges[0] * edges[1]), 3))
        axis = rng.choice(3, len(box), p=(0.2, 0.2, 0.6))
        box[np.arange(len(box)), axis] = np.where(axis == 2, 1, rng.integers(0, 2, len(box)))
        parts.append((box * edges + np.array([*xy, ground(xy)]), 2))
    xyz = np.concatenate([part for part, _ in parts])
    label = np.concatenate([np.full(len(part), label) for part, label in parts])
    intensity = np.array([0.0, 0.3, -0.3])[label] + rng.normal(size=len(xyz))
    inside = (xyz[:, :2] >= 0).all(1) & (xyz[:, :2] < size).all(1)
    xyz = xyz + rng.normal(0, 0.05, xyz.shape)
    return xyz[inside], intensity[inside, None], label[inside]


def read_tiles(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The tiles of a file; point_cloud.py describes its layout."""
    if not path.is_file():
        raise SystemExit(f"The tiles belong in {path}, which is not there; nothing downloads them.")
    tiles = np.load(path)
    classes = np.full(256, -1)
    classes[2:7] = [0, 1, 1, 2, 3]  # ground, low and medium vegetation, high vegetation, building
    for name in sorted({key.split("/")[0] for key in tiles}):
        part = {key: tiles[f"{name}/{key}"] for key in ("xyz_cm", "intensity", "returns", "label")}
        features = np.c_[part["intensity"] / 1000, part["returns"] / 3]
        yield part["xyz_cm"] / 100, features, classes[part["label"]]


def blocks(
    xyz: np.ndarray, features: np.ndarray, label: np.ndarray, size: float, points: int
) -> Iterator[Data]:
    """The blocks of a tile: x holds the place in the block, the height in it, and the features."""
    rng, cell = np.random.default_rng(0), (xyz[:, :2] // size).astype(int)
    for which in np.unique(cell, axis=0):
        rows = rng.permutation(np.flatnonzero((cell == which).all(1)))[:points]
        if len(rows) >= 100:
            pos = xyz[rows] - [*(which + 0.5) * size, np.quantile(xyz[rows, 2], 0.02)]
            x = np.c_[pos / size * 2, features[rows]]
            pos, x = (torch.tensor(part, dtype=torch.float) for part in (pos, x))
            yield Data(x=x, pos=pos, y=torch.tensor(label[rows]))


def neighbours(data: Data, k: int = NEIGHBOURS) -> Data:
    """Add the graph of nearest neighbours, from neighbour to centre."""
    graph = kneighbors_graph(data.pos.numpy(), min(k, data.num_nodes - 1), n_jobs=1)
    data.edge_index = from_scipy_sparse_matrix(graph)[0].flip(0)
    return data


def _generated(root: str) -> list[list[Data]]:
    return [[*blocks(*generate(seed), SIZE, POINTS)] for seed in range(6)]


def _lidar(root: str) -> list[list[Data]]:
    path = Path(root) / "ign_lidar" / "ign_lidar_tiles.npz"
    return [[*blocks(*tile, SIZE, POINTS)] for tile in read_tiles(path)]


def _rooms(root: str) -> list[list[Data]]:
    """The six areas of S3DIS, in blocks of 4,096 points; x is colour and place in the room."""
    return [[*S3DIS(str(Path(root) / "S3DIS"), area, train=False)] for area in range(1, 7)]


SETS: dict[str, Callable[[str], list[list[Data]]]] = {
    "Tiles": _generated, "IGN": _lidar, "S3DIS": _rooms,
}  # fmt: skip


def parts(name: str, root: str) -> dict[str, list[Data]]:
    """The blocks of a set, by part."""
    *train, val, test = SETS[name](root)
    return {"train": [block for tile in train for block in tile], "val": val, "test": test}


def are_classified(data: Data) -> bool:
    """Whether a graph is of points with a class each."""
    return "pos" in data and isinstance(data.y, Tensor) and data.y.shape == (data.num_nodes,)


def unconnected(data: Data) -> bool:
    """Whether these points still need a graph."""
    return are_classified(data) and "edge_index" not in data


def labelled(graphs: list[Data], seed: int) -> list[Data]:
    """Training blocks in which one point in ten has a label."""
    draw, result = torch.Generator().manual_seed(seed), []
    for block in graphs:
        unknown = torch.rand(block.num_nodes, generator=draw) > LABELLED
        result.append(block.clone().update({"y": block.y.masked_fill(unknown, -1)}))
    return result


# Models -------------------------------------------------------------------------------------------


def _edge_conv(a: int, b: int, norm: str | None) -> EdgeConv:
    return EdgeConv(MLP([2 * a, b], plain_last=False, norm=norm), "max")


def _point_net_conv(a: int, b: int, norm: str | None) -> PointNetConv:
    return PointNetConv(MLP([a + 3, b], plain_last=False, norm=norm))


CONVS: dict[str, Callable[[int, int, str | None], nn.Module]] = {
    "DGCNN": _edge_conv, "PointNet": _point_net_conv,
}  # fmt: skip


class PointGNN(nn.Module):
    """Convolutions over neighbouring points, all outputs side by side, and their block's maximum.

    The layer `hidden` gives the hidden state, after normalisation, ReLU and dropout.

    Args:
        name: "DGCNN": EdgeConv, on features alone. "PointNet": PointNetConv, as in PointNet++, on
            features and positions, without its pooling.
        features: The width of x.
        width: Of every layer.
        layers: The number of convolutions.
        outputs: The number of classes.
        dropout: Of the hidden state.
        norm: One of PyG's, or None.
    """

    def __init__(
        self,
        name: str,
        features: int,
        width: int,
        layers: int,
        outputs: int,
        dropout: float = 0.0,
        norm: str | None = "batch_norm",
    ) -> None:
        super().__init__()
        sizes = pairwise([features, *[width] * layers])
        self.convs = nn.ModuleList(CONVS[name](a, b, norm) for a, b in sizes)
        self.hidden = MLP([2 * layers * width, width], plain_last=False, norm=norm, dropout=dropout)
        self.out = nn.Linear(width, outputs)

    def forward(
        self, x: Tensor, pos: Tensor, edge_index: Tensor, batch: Tensor, batch_size: int
    ) -> Tensor:
        hs: list[Tensor] = []
        for conv in self.convs:
            places: Any = (pos,) if isinstance(conv, PointNetConv) else ()
            x = conv(x, *places, edge_index)
            hs.append(x)
        h = torch.cat(hs, dim=1)
        whole = global_max_pool(h, batch, batch_size)
        return self.out(self.hidden(torch.cat([h, whole[batch]], dim=1)))


class OfPoints(nn.Module):
    """A GNN of points, for labels of points."""

    def __init__(self, gnn: PointGNN) -> None:
        super().__init__()
        self.gnn, self.layers = gnn, {"node": "gnn.hidden"}
        self.widths = {"node": gnn.out.in_features}

    def forward(self, data: Data) -> Tensor:
        return self.gnn(data.x, data.pos, data.edge_index, data.batch, data.num_graphs)
