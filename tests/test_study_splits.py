"""Which nodes the study trains on and tests, and data sets by names that change them."""

import sys
from pathlib import Path

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.datasets import KarateClub

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.study import data, splits


def masks(graph: Data) -> list[torch.Tensor]:
    return [graph[f"{part}_mask"] for part in data.PARTS]


def graphs() -> dict[str, Data]:
    draw = torch.Generator().manual_seed(0)
    n, y = 400, torch.arange(400) % 4
    parts = torch.stack([torch.randperm(n, generator=draw) for _ in range(3)], dim=1)
    several = Data(
        y=y, num_nodes=n, train_mask=parts < 100, val_mask=(parts >= 100) & (parts < 200),
        test_mask=parts >= 200,
    )  # fmt: skip
    return {
        "none": Data(y=y, num_nodes=n),
        "unknown labels": Data(y=y.where(y > 0, -1), num_nodes=n),
        "several": several,
        "several, one test": several.clone().update({"test_mask": several.test_mask[:, 0]}),
        "train only": KarateClub()[0],
        "many labels": Data(y=torch.ones(n, 5), num_nodes=n),
    }


@pytest.mark.parametrize("name", graphs())
def test_test_nodes_are_the_same_for_all_seeds_and_used_for_nothing_else(name: str) -> None:
    graph = graphs()[name]
    splits = [masks(data.split(graph, seed, 20)) for seed in range(4)]
    for train, val, test in splits:
        assert (train.int() + val.int() + test.int()).max() == 1
        assert min(int(part.sum()) for part in (train, val, test)) > 0
        assert test.equal(splits[0][2])
        if graph.y.dim() == 1:
            assert (graph.y[train | val | test] >= 0).all()
    if name != "train only":
        assert any(not val.equal(splits[0][1]) for _, val, _ in splits)


@pytest.mark.parametrize("setting", ["transductive", "production"])
def test_a_data_set_by_its_labelled_nodes(setting: str) -> None:
    """Fewer of each class are some of more, and the test nodes are as they were."""
    few, more = (data.problem(f"Digits[labelled={k}]", "", 3, setting).learn[0] for k in (2, 9))
    assert few.y[few.train_mask].bincount().tolist() == [2] * 10
    assert more.y[more.train_mask].bincount().tolist() == [9] * 10
    assert not (few.train_mask & ~more.train_mask).any()
    assert few.test_mask.equal(more.test_mask)
    noisy = data.problem("Digits[labelled=2,noise=1.0]", "", 3, setting).learn[0]
    assert noisy.train_mask.equal(few.train_mask)
    assert not noisy.x.equal(few.x)


def test_labelled_nodes_of_a_split_that_is_given() -> None:
    graph = KarateClub()[0]
    graph.y = graph.y.where(torch.arange(34) > 2, -1)  # training nodes of no class stay out
    graph.train_mask = torch.arange(34) < 25
    found = [splits.fewer(graph, 3, seed).train_mask for seed in (0, 0, 1)]
    assert found[0].equal(found[1])
    assert not found[0].equal(found[2])
    for mask in found:
        assert not (mask & ~graph.train_mask).any()
        own = graph.y[graph.train_mask & (graph.y >= 0)].bincount()
        assert graph.y[mask].bincount().tolist() == own.clamp(max=3).tolist()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Digits[labelled=0]", r"Digits\[labelled=0\]: it is a number of nodes"),
        ("Digits[labelled=0.5]", "at least 1"),
        ("Digits[labelled=few]", "at least 1"),
        ("Communities[labelled=3]", "is not one graph of one node type: it cannot be changed"),
        ("Digits[noise", "is not NAME or NAME"),
        ("Digits[noise=0.2][mask=0.2]", "is not NAME or NAME"),
        ("Digits[noise=abc]", "noise=abc: a corruption has a share from 0 to 1"),
        ("Digits[mask=2]", "mask=2: a corruption has a share from 0 to 1"),
    ],
)
def test_changes_that_cannot_be(name: str, why: str) -> None:
    with pytest.raises(SystemExit, match=why):
        data.problem(name, "", 0)


def test_unseen_nodes_are_in_no_graph_to_learn_from() -> None:
    whole = data.problem("Digits", "", 1)
    made = data.problem("Digits", "", 1, "production")
    learn, scored = made.learn[0], made.held["test"][0]
    unseen = scored.test_mask
    n = whole.learn[0].num_nodes
    assert int(unseen.sum()) == n // 5
    assert learn.num_nodes == n - n // 5
    assert learn.x.equal(whole.learn[0].x[~unseen])
    assert not (unseen & scored.test_seen_mask).any()
    assert (unseen | scored.test_seen_mask).equal(whole.learn[0].test_mask)
    inside = (~unseen)[whole.learn[0].edge_index].all(dim=0)
    assert learn.num_edges == int(inside.sum())
    # SIGN's hops of the graph to learn from must not have crossed an unseen node.
    assert not learn.x2.allclose(scored.x2[~unseen])
