"""TeacherStore of many graphs and of heterogeneous graphs, and the refusals of its build."""

import pytest
import torch
from torch import nn
from torch.utils.data import BatchSampler, RandomSampler
from torch_geometric.data import Batch, Data
from torch_geometric.datasets import FakeDataset
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GCNConv, global_add_pool

from graphkd import TeacherStore
from tests.store_loaders import (
    HeteroTeacher,
    academic,
    build,
    check,
    gcn,
    karate,
    khop_batches,
    live,
    node_loader,
)


class GraphTeacher(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.mix, self.out = GCNConv(8, 16), nn.Linear(16, 12), nn.Linear(12, 2)

    def forward(self, x, edge_index, batch):
        return self.out(self.mix(global_add_pool(self.conv(x, edge_index).relu(), batch)).relu())


def by_graph(model, batch):
    return model(batch.x, batch.edge_index, batch.batch)


def test_graph_level_ids(tmp_path) -> None:
    graphs = list(FakeDataset(num_graphs=11, avg_num_nodes=6, num_channels=8))
    teacher, options = GraphTeacher(), {"tap": "mix", "forward": by_graph}
    whole = Batch.from_data_list(graphs)
    h, z = live(teacher, whole.x, whole.edge_index, whole.batch, tap="mix")
    store = build(tmp_path / "a", teacher, DataLoader(graphs, batch_size=4), **options)
    check(store, h, z)
    assert len(TeacherStore.open(store.path, graphs)) == 11
    with pytest.raises(ValueError, match="another graph: its graphs, last"):
        TeacherStore.open(store.path, graphs[:-1])
    with pytest.raises(ValueError, match="has 11 rows, not 12"):
        TeacherStore.open(store.path, num_nodes=12)
    check(build(tmp_path / "b", teacher, whole, **options), h, z)
    with pytest.raises(ValueError, match=r"another order.*ids="):
        build(tmp_path / "c", teacher, DataLoader(graphs, 4, shuffle=True), **options)
    for i, graph in enumerate(graphs):
        graph.number = torch.tensor([i])
    loader = DataLoader(graphs, 4, shuffle=True)
    check(build(tmp_path / "d", teacher, loader, ids="number", **options), h, z)
    store = build(tmp_path / "e", teacher, loader, ids=lambda batch: 10 - batch.number, **options)
    torch.testing.assert_close(store[:].z, z.flip(0))
    with pytest.raises(ValueError, match=r"h has .* rows in a batch of 4"):
        build(tmp_path / "f", teacher, DataLoader(graphs, 4), tap="conv", forward=by_graph)


def test_nodes_of_many_graphs_are_counted(tmp_path) -> None:
    graphs = list(FakeDataset(num_graphs=7, avg_num_nodes=6, num_channels=8))
    teacher, whole = gcn(), Batch.from_data_list(graphs)
    store = build(tmp_path, teacher, DataLoader(graphs, batch_size=3))
    check(store, *live(teacher, whole.x, whole.edge_index))


@pytest.mark.parametrize("level", ["graphs", "nodes"])
def test_a_counted_build_is_resumed(tmp_path, level) -> None:
    graphs = list(FakeDataset(num_graphs=11, avg_num_nodes=6, num_channels=8))
    teacher, tap = (GraphTeacher(), "mix") if level == "graphs" else (gcn(), "convs.1")
    calls = []

    def forward(model, batch):
        calls.append(batch)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return by_graph(model, batch) if level == "graphs" else model(batch.x, batch.edge_index)

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, teacher, DataLoader(graphs, 3), tap=tap, forward=forward)
    store = build(tmp_path, teacher, DataLoader(graphs, 3), tap=tap, forward=forward)
    assert len(calls) == 5
    whole = Batch.from_data_list(graphs)
    inputs = (whole.x, whole.edge_index, whole.batch)[: 3 if level == "graphs" else 2]
    check(store, *live(teacher, *inputs, tap=tap))


def test_heterogeneous_graphs(tmp_path) -> None:
    data = academic()
    teacher, papers = HeteroTeacher(data), HeteroTeacher(data, only_papers=True)
    h, z = live(teacher, data.x_dict, data.edge_index_dict, tap="conv")
    loader = node_loader(data, ("paper", torch.tensor([7, 2, 11, 0, 5, 4])))
    ids = torch.tensor([0, 2, 4, 5, 7, 11])
    store = build(tmp_path / "a", teacher, loader, tap="conv")
    check(store, h["paper"], z["paper"], ids)
    assert TeacherStore.open(store.path, data).num_nodes == 12
    authors = build(tmp_path / "b", teacher, node_loader(data, "author"), tap="conv")
    check(authors, h["author"], z["author"])
    full = build(tmp_path / "c", teacher, data, tap="conv", node_type="author")
    check(full, h["author"], z["author"])
    with pytest.raises(ValueError, match=r"'paper', 'author'\. Pass node_type="):
        build(tmp_path / "d", teacher, data, tap="conv")
    papers.load_state_dict(teacher.state_dict())

    def seeds(model, batch):
        return model(batch.x_dict, batch.edge_index_dict)[: batch["paper"].batch_size]

    check(
        build(tmp_path / "e", papers, list(loader), tap="conv", forward=seeds),
        h["paper"],
        z["paper"],
        ids,
    )


@pytest.mark.parametrize("form", ["dict", "tensor", "none", "pair"])
@pytest.mark.parametrize("loading", ["graph", "loader", "batches"])
def test_a_node_type_without_logits_has_embeddings(tmp_path, form, loading) -> None:
    data = academic()
    teacher = HeteroTeacher(data)
    h, z = live(teacher, data.x_dict, data.edge_index_dict, tap="conv")

    def forward(model, batch):
        found = model(batch.x_dict, batch.edge_index_dict)
        papers = {"dict": {"paper": found["paper"]}, "tensor": found["paper"]}.get(form)
        return (model.conv(batch.x_dict, batch.edge_index_dict), None) if form == "pair" else papers

    loader = node_loader(data, "author")
    source = {"graph": data, "loader": loader, "batches": list(loader)}[loading]
    options = {"tap": None if form == "pair" else "conv", "node_type": "author"}
    store = build(tmp_path, teacher, source, forward=forward, **options)
    assert (store.dim_h, store.dim_z, store.path.joinpath("z.bin").exists()) == (16, None, False)
    rows = TeacherStore.open(store.path, data)[torch.tensor([6, 0])]
    torch.testing.assert_close(rows.h, h["author"][[6, 0]])
    assert rows.z is None
    assert len(build(tmp_path, teacher, source, forward=forward, overwrite=True, **options)) == 7
    if form in ("dict", "tensor"):
        papers = build(
            tmp_path / "p", teacher, data, forward=forward, tap="conv", node_type="paper"
        )
        check(papers, h["paper"], z["paper"])


@pytest.mark.parametrize("labelled", [["author"], ["paper"], ["author", "paper"], []])
def test_logits_that_fit_two_node_types(tmp_path, labelled) -> None:
    """As many papers as authors: labels say whose logits a tensor holds, and a dict always does."""
    data = academic(papers=7)
    teacher, options = HeteroTeacher(data), {"tap": "conv", "node_type": "author"}
    h, z = live(teacher, data.x_dict, data.edge_index_dict, tap="conv")
    for kind in labelled:
        data[kind].y = torch.zeros(7, dtype=torch.long)
    check(build(tmp_path / "dict", teacher, data, **options), h["author"], z["author"])
    options["forward"] = lambda m, b: m(b.x_dict, b.edge_index_dict)["author"]
    batches = list(node_loader(data, "author"))  # there they fit by chance
    check(build(tmp_path / "batches", teacher, batches, **options), h["author"], z["author"])
    if len(labelled) != 1:
        with pytest.raises(ValueError, match=r"types 'author', 'paper'\. Pass forward="):
            build(tmp_path, teacher, data, **options)
    else:
        store = build(tmp_path, teacher, data, **options)
        torch.testing.assert_close(store[:].h, h["author"])
        if labelled == ["author"]:
            check(store, h["author"], z["author"])
        else:
            assert store.dim_z is None


def test_logits_of_a_type_that_only_ids_name(tmp_path) -> None:
    data = academic(papers=7)
    data["paper"].n_id = torch.arange(7)

    def pair(m, b):
        return tuple(of["paper"] for of in live(m, b.x_dict, b.edge_index_dict, tap="conv"))

    options = {"tap": None, "forward": pair, "ids": lambda batch: batch["paper"].n_id}
    store = build(tmp_path, teacher := HeteroTeacher(data), [data], **options)
    check(store, *pair(teacher, data))


def test_logits_that_fit_no_node_type_are_refused(tmp_path) -> None:
    data = academic()
    for forward, error, message in (
        (lambda m, b: m(b.x_dict, b.edge_index_dict)["paper"][:9], ValueError, "z has 9 rows"),
        (lambda m, b: {"paper": torch.ones(12, 2)}, TypeError, "z.* got a dict of 'paper'"),
    ):
        tap = "conv" if error is ValueError else None
        with pytest.raises(error, match=message):
            build(tmp_path, HeteroTeacher(data), data, forward=forward, tap=tap, node_type="author")


def test_the_first_rows_of_an_id_count(tmp_path) -> None:
    batches = khop_batches(karate())
    calls = []

    def numbered(model, batch):
        calls.append(batch)
        return torch.full((batch.num_nodes, 1), float(len(calls)))

    once = build(tmp_path / "a", gcn(), batches, tap=None, forward=numbered)
    calls.clear()
    twice = build(tmp_path / "b", gcn(), batches + batches, tap=None, forward=numbered)
    assert len(calls) == len(batches)
    assert torch.equal(once[:].z, twice[:].z)
    both = Data(x=torch.ones(3, 1), n_id=torch.tensor([1, 0, 1]), batch_size=3)
    store = build(tmp_path / "c", gcn(), [both], tap=None, forward=lambda m, b: torch.eye(3))
    assert store[:].z.argmax(1).tolist() == [1, 0]


def test_what_a_build_refuses(tmp_path) -> None:
    data, teacher = karate(), gcn()
    batch = khop_batches(data)[0]

    def with_ids(n_id) -> Data:
        return Data(x=data.x[:2], edge_index=data.edge_index[:, :0], n_id=n_id)

    widths = iter((2, 3))
    graphs = list(FakeDataset(num_graphs=4, num_channels=8))
    sampler = BatchSampler(RandomSampler(graphs), 2, drop_last=False)
    cases = [
        (TypeError, "teacher must be a torch.nn.Module", {"teacher": print}),
        (TypeError, "forward must be a function", {"forward": 3}),
        (ValueError, "no layer 'conv.9'", {"tap": "conv.9"}),
        (ValueError, "dtype must be one of torch.float16", {"dtype": torch.int8}),
        (ValueError, "must be at least 0", {"num_nodes": -1}),
        (IndexError, "the id 33, and there are 5", {"num_nodes": 5, "source": khop_batches(data)}),
        (IndexError, "must not be negative", {"source": [with_ids(torch.tensor([-1, 0]))]}),
        (TypeError, "int64 or int32", {"source": [with_ids(torch.rand(2))]}),
        (ValueError, "one-dimensional", {"source": [with_ids(torch.ones(2, 1).long())]}),
        (
            ValueError,
            "whose rows are these",
            {"source": [Data(x=data.x, edge_index=batch.edge_index)]},
        ),
        (ValueError, "no attribute 'mine'", {"ids": "mine"}),
        (ValueError, "there was no batch", {"source": []}),
        (ValueError, "no x or no edge_index", {"source": Data(edge_index=data.edge_index)}),
        (ValueError, "z has 33 rows", {"forward": lambda m, b: m(b.x, b.edge_index)[:33]}),
        (
            TypeError,
            "must be a tensor; got tuple",
            {"forward": lambda m, b: (m(b.x, b.edge_index), 1)},
        ),
        (
            TypeError,
            "must be a tensor; got a dict of 'logits'",
            {"forward": lambda m, b: {"logits": m(b.x, b.edge_index)}},
        ),
        (TypeError, "got None", {"forward": lambda m, b: setattr(b, "z", m(b.x, b.edge_index))}),
        (ValueError, "two-dimensional", {"forward": lambda m, b: m(b.x, b.edge_index)[:, 0]}),
        (RuntimeError, "has not run", {"forward": lambda m, b: torch.ones(34, 1)}),
        (
            ValueError,
            r"the widths \{'z': 3\}, and had \{'z': 2\}",
            {
                "tap": None,
                "source": khop_batches(data),
                "forward": lambda m, b: torch.ones(b.num_nodes, next(widths)),
            },
        ),
        (TypeError, "Wrap it", {"source": FakeDataset(num_graphs=2)}),
        (ValueError, "another order", {"source": DataLoader(graphs, batch_sampler=sampler)}),
        (TypeError, "Use a NeighborLoader", {"source": Links([batch])}),
        (ValueError, "has no value yet", {"teacher": Lazy()}),
    ]
    for number, (error, message, change) in enumerate(cases):
        options = {"teacher": teacher, "source": data, **change}
        with pytest.raises(error, match=message):
            build(tmp_path / str(number), **options)
        folder = tmp_path / str(number)
        left = [file.name for file in folder.iterdir()] if folder.exists() else []
        assert left == (["store.partial"] if "widths" in message else []), message


class Links(list):
    edge_label_index = torch.ones(2, 1)


class Lazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.LazyLinear(2), nn.LazyLinear(2)])


def test_progress_is_shown_on_demand(tmp_path, capsys) -> None:
    TeacherStore.build(tmp_path / "loud", gcn(), karate())
    assert "34.0/34.0" in capsys.readouterr().err
    build(tmp_path, gcn(), karate())
    assert capsys.readouterr().err == ""
