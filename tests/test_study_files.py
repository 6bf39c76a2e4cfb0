"""How the study reads data sets by name: parts, random sets, attributes, what cannot be read."""

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch_geometric.datasets
from torch_geometric.data import Data

from examples.study import data, files
from tests.test_study_odd_data import many


def pygs_class(monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    monkeypatch.setattr(torch_geometric.datasets, "Made", make, raising=False)


def test_random_sets_are_the_same_in_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def made() -> list[Data]:
        return [Data(x=torch.tensor([random.random(), np.random.rand(), float(torch.rand(1))]))]

    pygs_class(monkeypatch, type("Made", (list,), {"__init__": lambda self: self.extend(made())}))
    found = []
    for seed in (1, 2):
        random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
        found.append(files.read("Made", "")["all"][0].x)
        later = [random.random(), np.random.rand(), float(torch.rand(1))]
        random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
        assert later == [random.random(), np.random.rand(), float(torch.rand(1))]
    assert found[0].equal(found[1])


def test_attributes_are_read_if_there_are_no_other_features(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Made(list):
        def __init__(self, name: str, use_node_attr: bool = False, use_edge_attr: bool = False):
            own = int(name)
            x = torch.ones(3, own + 2 * use_node_attr)
            self.append(Data(x=x, edge_attr=torch.ones(3, 2 * use_edge_attr)))

    pygs_class(monkeypatch, Made)
    (first,) = files.read("Made:0", "")["all"]
    assert (first.x.size(1), first.edge_attr.size(1)) == (2, 2)
    (first,) = files.read("Made:3", "")["all"]  # labels of nodes are there
    assert first.x.size(1) == 3


@pytest.mark.parametrize(
    ("name", "received"),
    [
        ("Made:one", ("one", None, 0.5)),
        ("Made:one,feature=bert", ("one", "bert", 0.5)),
        ("Made:name=one,share=(2,(3,.5))", ("one", None, (2, (3, 0.5)))),
    ],
)
def test_arguments_stand_behind_a_name(
    name: str, received: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Made(list):
        def __init__(self, name: str, feature: str | None = None, share: float = 0.5):
            self.append((name, feature, share))

    pygs_class(monkeypatch, Made)
    assert files.read(name, "") == {"all": [received]}


def test_last_nodes_without_edges_are_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Made(list):
        def __init__(self) -> None:
            edges = torch.arange(90).view(1, -1).repeat(2, 1)
            self.append(Data(edge_index=edges, y=torch.arange(100) % 2))

    pygs_class(monkeypatch, Made)
    data._prepared.cache_clear(), data.load.cache_clear()
    problem = data.problem("Made", "", 0)
    assert problem.learn[0].x.size(0) == 100


def test_halves_that_a_flag_chooses_are_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Made(list):
        def __init__(self, train: bool = True):
            self.extend(many(40 if train else 7, lambda i: torch.tensor([i % 2])))

    pygs_class(monkeypatch, Made)
    data._uniform.cache_clear(), data.load.cache_clear()
    parts = [data.problem("Made", "", seed) for seed in range(2)]
    assert [len(parts[0].learn), *map(len, parts[0].held.values())] == [36, 4, 7]
    assert {*map(id, parts[0].held["val"])} != {*map(id, parts[1].held["val"])}
    data._uniform.cache_clear(), data.load.cache_clear()


@pytest.mark.parametrize("accepts", [True, False])
def test_parts_that_need_not_be_asked_for(monkeypatch: pytest.MonkeyPatch, accepts: bool) -> None:
    class Made(list):
        def __init__(self, split: str | None = None):
            if split is not None and not accepts:
                raise ValueError
            self.append(split)

    pygs_class(monkeypatch, Made)
    parts = {"train": ["train"], "val": ["val"], "test": ["test"]}
    assert files.read("Made", "") == (parts if accepts else {"all": [None]})


def test_the_advice_to_install_the_extra_is_for_what_it_holds() -> None:
    text = (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text()
    (extra,) = re.findall(r"^datasets = \[(.*)\]$", text, re.M)
    assert {*re.findall(r'"(\w+)', extra)} == files.EXTRA


@pytest.mark.parametrize(
    ("module", "advice"),
    [
        ("rdkit.Chem", r" Run: pip install 'graphkd\[datasets\]'"),
        ("rdflib", " Run: pip install rdflib"),
        (None, ""),
    ],
)
def test_a_missing_module_is_named(
    monkeypatch: pytest.MonkeyPatch, module: str | None, advice: str
) -> None:
    def fails(self: Any) -> None:
        raise ImportError("No such module", name=module)

    pygs_class(monkeypatch, type("Made", (), {"__init__": fails}))
    with pytest.raises(SystemExit, match=rf"^Made could not be read: No such module\.{advice}$"):
        files.read("Made", "")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ogbn-mag", "use OGB_MAG"),
        ("ogbl-ppa", "those of nodes"),
        ("ogbn-nothing", "Available datasets"),
        ("ogbx", "those of nodes"),
    ],
)
def test_other_sets_of_ogb_are_refused_in_a_line(name: str, message: str) -> None:
    with pytest.raises(SystemExit, match=rf"^{name}[^\n]*{message}[^\n]*$"):
        files.read(name, "")
