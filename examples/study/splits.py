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
    a seed divides its other nodes in the same numbers. If only test nodes are lacking, all others
    test; if only validation nodes are, a fifth of the training nodes validates. What else is left
    is drawn: a half of the nodes tests, so many of each class are labelled, but at most a half of
    those that do not test (or a tenth of the nodes, if they have no class).
    """
    data, n = copy.copy(data), data.num_nodes
    own = {part: data[f"{part}_mask"].view(n, -1) for part in PARTS if f"{part}_mask" in data}
    has = {part: mask[:, 0].bool() for part, mask in own.items()}
    several = any(mask.size(1) > 1 for mask in own.values())
    if "train" in has and len(has) > 1:
        train, val, test = _completed(has, known(data.y), seed, several)
    else:
        train, val, test = _drawn(has, data.y, seed, labelled)
    return data.update({"train_mask": train, "val_mask": val, "test_mask": test})


def fewer(data: Data, labelled: int, seed: int) -> Data:
    """The same with at most so many training nodes of each class, drawn under the seed.

    A larger number keeps the nodes of a smaller one.
    """
    data = copy.copy(data)
    rows = (data.train_mask & (data.y >= 0)).nonzero().view(-1)
    rows = shuffled(rows, torch.Generator().manual_seed(seed))
    kept = [rows[data.y[rows] == label][:labelled] for label in data.y[rows].unique()]
    data.train_mask = _mask(torch.cat(kept), data.train_mask)
    return data


def _completed(has: dict[str, Tensor], known: Tensor, seed: int, several: bool) -> list[Tensor]:
    """The masks, of which training and another one are there."""
    train, val = has["train"], has.get("val")
    given = train if val is None else train | val
    test = has.get("test", known & ~given)
    if val is not None and not several:
        return [train, val, test]
    order = shuffled((given & ~test).nonzero().view(-1), torch.Generator().manual_seed(seed))
    if val is None:
        second, first = order.tensor_split([len(order) // 5])
    else:
        first, second = order.tensor_split([int(train.sum())])
    return [_mask(first, train), _mask(second, train), test]


def _drawn(has: dict[str, Tensor], y: Tensor, seed: int, labelled: int) -> list[Tensor]:
    """The masks, of which training and another one are not there."""
    n, usable = len(y), known(y)
    train, val = has.get("train"), has.get("val")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(12345))
    for given in (has.get("test"), val):
        usable = usable if given is None else usable & ~given
    test = has.get("test")
    if test is None:
        test = usable if train is None else usable & ~train
        test = test & _mask(order[: n // 2], test)
        usable = usable & ~test
    order = shuffled(order[usable[order]], torch.Generator().manual_seed(seed))
    if train is None:
        train = _mask(_labelled(order, y[order], max(n // 10, 1), labelled), usable)
    if val is None:
        val = _mask(order[~train[order]][:VALIDATION], usable)
    return [train, val, test]


def _labelled(order: Tensor, y: Tensor, tenth: int, labelled: int) -> Tensor:
    if y.dim() > 1 or y.is_floating_point():
        return order[: min(tenth, (len(order) + 1) // 2)]
    of_classes = [order[y == label] for label in y.unique()] or [order]
    return torch.cat([rows[: min(labelled, (len(rows) + 1) // 2)] for rows in of_classes])


def _mask(rows: Tensor, like: Tensor) -> Tensor:
    return torch.zeros_like(like).index_fill_(0, rows, True)


def known(y: Tensor) -> Tensor:
    """The rows that have a class, or any label of several, or a number."""
    if y.dim() == 1 and not y.is_floating_point():
        return y >= 0
    return ~y.isnan().view(len(y), -1).all(dim=1)


def shuffled(rows: Tensor, draw: torch.Generator) -> Tensor:
    """The rows in random order."""
    return rows[torch.randperm(rows.numel(), generator=draw)]
