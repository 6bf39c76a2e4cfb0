"""Which nodes of one graph train, validate and test under a seed."""

import copy

import torch
from torch import Tensor
from torch_geometric.data import Data

from .graphs import PARTS

VALIDATION = 500  # nodes, if there is no split


def split(data: Data, seed: int, labelled: int) -> Data:
    """The masks of a seed; test nodes are the same for all seeds.

    Masks that the data set has stay. Of several splits, the test nodes are those of the first, and
    a seed divides its other nodes in the same numbers. What is left is drawn: a half of the nodes
    tests, so many of each class (or a tenth of the nodes, if they have no class) are labelled. If
    only validation nodes are lacking, a fifth of the training nodes validates.
    """
    data, n = copy.copy(data), data.num_nodes
    has = {part for part in PARTS if f"{part}_mask" in data}
    several = "train" in has and data.train_mask.dim() == 2
    if has == {*PARTS} and not several:
        return data
    draw = torch.Generator().manual_seed(seed)
    if several:
        first = {part: data[f"{part}_mask"].view(n, -1)[:, 0] for part in has}
        test, rest = first["test"], (first["train"] | first["val"]) & ~first["test"]
        order = shuffled(rest.nonzero().view(-1), draw)
        train, val = order.tensor_split([int(first["train"].sum())])
    elif has == {"train", "test"}:
        test, order = data.test_mask, shuffled(data.train_mask.nonzero().view(-1), draw)
        val, train = order.tensor_split([len(order) // 5])
    else:
        known = data.y >= 0 if data.y.dim() == 1 else torch.ones(n, dtype=torch.bool)
        given = data.train_mask if "train" in has else torch.zeros_like(known)
        order = torch.randperm(n, generator=torch.Generator().manual_seed(12345))
        test = known & ~given
        test[order[n // 2 :]] = False
        order = shuffled(order[known[order] & ~test[order]], draw)
        y = data.y[order]
        if "train" in has:
            train = data.train_mask.nonzero().view(-1)
        elif y.dim() == 1 and not y.is_floating_point():
            train = torch.cat([order[y == label][:labelled] for label in y.unique()])
        else:
            train = order[: max(n // 10, 1)]
        val = order[~torch.isin(order, train)][:VALIDATION]
    data.test_mask = test
    for key, index in {"train_mask": train, "val_mask": val}.items():
        data[key] = torch.zeros(n, dtype=torch.bool).index_fill_(0, index, True)
    return data


def shuffled(rows: Tensor, draw: torch.Generator) -> Tensor:
    """The rows in random order."""
    return rows[torch.randperm(rows.numel(), generator=draw)]
