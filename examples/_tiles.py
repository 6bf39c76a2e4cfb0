"""Tiles of LiDAR points for point_cloud.py: generated or read, and cut into blocks."""

import numpy as np
import torch
from torch_geometric.data import Data


def generate(seed, size=30.0, density=8):
    """A tile: positions in metres, features, and labels (ground, vegetation, building)."""
    rng = np.random.default_rng(seed)
    slope, phase = rng.uniform(0.05, 0.15, 2), rng.uniform(0, 6)

    def ground(xy):
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


def read(path):
    """The tiles of a file; point_cloud.py describes its layout."""
    tiles = np.load(path)
    classes = np.full(256, -1)
    classes[2:7] = [0, 1, 1, 2, 3]  # ground, low and medium vegetation, high vegetation, building
    for name in sorted({key.split("/")[0] for key in tiles}):
        part = {key: tiles[f"{name}/{key}"] for key in ("xyz_cm", "intensity", "returns", "label")}
        features = np.c_[part["intensity"] / 1000, part["returns"] / 3]
        yield part["xyz_cm"] / 100, features, classes[part["label"]]


def blocks(xyz, features, label, size, points):
    """The blocks of a tile: x holds the place in the block, the height in it, and the features."""
    rng, cell = np.random.default_rng(0), (xyz[:, :2] // size).astype(int)
    for which in np.unique(cell, axis=0):
        rows = rng.permutation(np.flatnonzero((cell == which).all(1)))[:points]
        if len(rows) >= 100:
            pos = xyz[rows] - [*(which + 0.5) * size, np.quantile(xyz[rows, 2], 0.02)]
            x = np.c_[pos / size * 2, features[rows]]
            pos, x = (torch.tensor(part, dtype=torch.float) for part in (pos, x))
            yield Data(x=x, pos=pos, y=torch.tensor(label[rows]))
