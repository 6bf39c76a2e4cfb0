"""Corruptions of one graph: of its features, its edges or its labels, by a share from 0 to 1.

A share of 0 changes nothing. A seed decides what is drawn.
"""

import copy
from collections.abc import Callable, Mapping

import torch
from torch_geometric import seed_everything
from torch_geometric.data import Data
from torch_geometric.utils import add_random_edge, dropout_edge, mask_feature

from .graphs import are_yes_or_no

# Corruptions draw other numbers than models, which are seeded by the run's seed itself.
APART = 100_000


def noise(data: Data, share: float) -> None:
    """(1 − α) X + α N(0, 1) of standardised features, put back to the scale that they had.

    A column keeps its mean; at α = 1 it is noise of this mean and of the column's deviation.
    """
    random = data.x.mean(0) + data.x.std(0, correction=0) * torch.randn_like(data.x)
    data.x = (1 - share) * data.x + share * random


def mask(data: Data, share: float) -> None:
    """This share of the entries of X, drawn one by one, becomes 0."""
    data.x, _ = mask_feature(data.x, share, mode="all")


def remove(data: Data, share: float) -> None:
    """Each edge goes with this probability."""
    data.edge_index, _ = dropout_edge(data.edge_index, share, data.is_undirected())


def add(data: Data, share: float) -> None:
    """As many edges as this share of the graph's come in, between nodes that have none."""
    if data.num_edges:
        data.edge_index, _ = add_random_edge(
            data.edge_index, share, data.is_undirected(), data.num_nodes
        )


def rewire(data: Data, share: float) -> None:
    """Edges go as by `remove`, and as many come in as by `add`."""
    if not data.num_edges:
        return
    before, undirected = data.edge_index, data.is_undirected()
    _, new = add_random_edge(before, share, undirected, data.num_nodes)
    kept, _ = dropout_edge(before, share, undirected)
    data.edge_index = torch.cat([kept, new.to(kept)], dim=1)


def labels(data: Data, share: float) -> None:
    """This share of the labels to train and to choose by is wrong, those that are tested never.

    A wrong label is any other class, all as likely; of several yes-or-no labels, each is turned.
    """
    data.y = data.y.clone()
    known = (data.train_mask | data.val_mask).nonzero().view(-1)
    if data.y.dim() == 1:
        known = known[data.y[known] >= 0]
        wrong = known[torch.randperm(known.numel())[: round(share * known.numel())]]
        classes = int(data.y.max()) + 1
        data.y[wrong] = (data.y[wrong] + torch.randint(1, classes, wrong.shape)) % classes
    elif are_yes_or_no(data.y):
        turned = torch.rand(known.numel(), data.y.size(1)) < share
        data.y[known] = torch.where(turned, 1 - data.y[known], data.y[known])
    else:
        raise SystemExit("Labels that are numbers cannot be wrong by a share.")


CORRUPTIONS: dict[str, Callable[[Data, float], None]] = {
    "noise": noise, "mask": mask, "remove": remove, "add": add, "rewire": rewire, "labels": labels,
}  # fmt: skip


def corrupted(data: Data, changes: Mapping[str, float], seed: int) -> Data:
    """A copy of the graph, corrupted in each of the ways by the share that it comes with."""
    if not changes:
        return data
    data = copy.copy(data)
    for name in set(data.edge_attrs()) - {"edge_index"}:  # new edges have no attributes
        del data[name]
    for name, share in changes.items():
        if name not in CORRUPTIONS:
            raise SystemExit(f"{name} is no corruption: there are {', '.join(CORRUPTIONS)}.")
        if not isinstance(share, int | float) or not 0 <= share <= 1:
            raise SystemExit(f"{name}={share}: a corruption has a share from 0 to 1.")
        seed_everything(APART + seed)
        CORRUPTIONS[name](data, share)
    return data
