"""TeacherStore: its rows equal the live teacher's outputs, however they were delivered."""

import pickle
import warnings
from contextlib import nullcontext

import pytest
import torch
from torch.utils.data import DataLoader as TorchLoader
from torch_geometric.data import Batch, Data
from torch_geometric.loader import NeighborLoader, RandomNodeLoader
from torch_geometric.utils import to_torch_csr_tensor

import graphkd
from graphkd import TeacherStore, freeze
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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_full_graph_rows_are_the_teachers_in_the_dtype_asked_for(tmp_path, dtype) -> None:
    data, teacher = karate(), gcn()
    data.edge_label_index = data.edge_index[:, :3]  # as in link splits
    store = build(tmp_path, teacher, data, dtype)
    h, z = live(teacher, data.x, data.edge_index)
    ids = torch.tensor([33, 0, 7, 7, 2])
    rows = store[ids]
    assert rows._fields == ("h", "z")
    assert torch.equal(rows.h, h[ids].to(dtype))
    assert torch.equal(rows.z, z[ids].to(dtype))
    assert (len(store), store.dim_h, store.dim_z, store.dtype) == (34, 16, 4, dtype)
    loss = graphkd.GCRDLoss(4, store.dim_h)(torch.randn(5, 4, requires_grad=True), rows.h)
    assert loss.isfinite()


def test_every_form_of_request(tmp_path) -> None:
    data, teacher = karate(), gcn()
    store = build(tmp_path, teacher, data)
    h, z = live(teacher, data.x, data.edge_index)
    for ids in (torch.tensor([3, 1], dtype=torch.int32), data.train_mask, slice(2, 30, 3), 5):
        check(store, h, z, ids)
    torch.testing.assert_close(store[::-1].z, z.flip(0))
    for nothing in (torch.empty(0, dtype=torch.long), slice(9, 3)):
        assert store[nothing].h.shape == (0, 16)
        assert store[nothing].z.shape == (0, 4)
    store[:].h.zero_()  # a copy: the store itself does not change
    check(store, h, z)


@pytest.mark.parametrize(
    ("ids", "error"),
    [
        (torch.tensor([0, -1]), IndexError),
        (torch.tensor([34]), IndexError),
        (34, IndexError),
        (-1, IndexError),
        (torch.ones(33, dtype=torch.bool), IndexError),
        (torch.tensor([0.0]), TypeError),
        (torch.tensor([[1]]), ValueError),
        ([1, 2], TypeError),
        (True, TypeError),
    ],
)
def test_wrong_ids_are_refused(tmp_path, ids, error) -> None:
    with pytest.raises(error, match="n_id"):
        build(tmp_path, gcn(), karate())[ids]


@pytest.mark.parametrize("as_iterator", [False, True])
def test_khop_batches_give_the_full_graphs_rows(tmp_path, as_iterator) -> None:
    data, teacher = karate(), gcn()
    batches = khop_batches(data)
    store = build(tmp_path, teacher, iter(batches) if as_iterator else batches)
    check(store, *live(teacher, data.x, data.edge_index))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("nodes", ["all", "mask", "index"])
def test_only_seeds_of_a_node_loader_are_kept(tmp_path, nodes, shuffle) -> None:
    data, teacher = karate(), gcn()
    mask = torch.arange(34) % 3 == 1
    chosen = {"all": None, "mask": mask, "index": mask.nonzero()[:, 0].flip(0)}[nodes]
    store = build(tmp_path, teacher, node_loader(data, chosen, shuffle=shuffle))
    h, z = live(teacher, data.x, data.edge_index)
    assert len(store) == 34
    if nodes == "all":
        check(store, h, z)
    else:
        check(store, h, z, mask)
        with pytest.raises(IndexError, match="holds 0, which no batch"):
            store[:]


def test_parts_around_roots_need_the_nodes_ids(tmp_path) -> None:
    """A ShaDowKHopSampler's parts overlap: to count their nodes would give rows to other nodes."""
    data, teacher = karate(), gcn()
    data.n_id = torch.arange(34)
    batch = Batch.from_data_list([data, data])
    batch.root_n_id, batch.n_id = torch.tensor([3, 34 + 5]), batch.n_id % 34
    store = build(tmp_path, teacher, [batch], num_nodes=34)
    check(store, *live(teacher, data.x, data.edge_index), ids=torch.tensor([5, 3]))
    del batch.n_id
    with pytest.raises(ValueError, match=r"no n_id\. Give the graph data\.n_id"):
        build(tmp_path / "other", teacher, [batch], num_nodes=68)


def test_seeds_that_a_transform_moved_are_found_by_id(tmp_path) -> None:
    data, teacher = karate(), gcn()

    def last_to_first(batch: Data) -> Data:
        batch.x, batch.n_id = batch.x.flip(0), batch.n_id.flip(0)
        batch.edge_index = batch.num_nodes - 1 - batch.edge_index
        return batch

    nodes = torch.tensor([20, 3, 33, 8, 1, 0, 2])
    store = build(tmp_path, teacher, node_loader(data, nodes, transform=last_to_first))
    check(store, *live(teacher, data.x, data.edge_index), nodes)


def test_ids_that_the_graph_itself_carries_are_those_of_the_store(tmp_path) -> None:
    data, teacher = karate(), gcn()
    data.n_id = torch.arange(34) * 2 + 1
    store = build(tmp_path, teacher, node_loader(data, torch.tensor([5, 4, 33])), num_nodes=70)
    _, z = live(teacher, data.x, data.edge_index)
    rows = store[torch.tensor([67, 9, 11])]
    torch.testing.assert_close(rows.z, z[[33, 4, 5]])
    assert len(store) == 70
    assert len(build(tmp_path / "b", teacher, data)) == 68


@pytest.mark.sampler
@pytest.mark.parametrize("chosen", [None, torch.tensor([9, 2, 33, 4, 30, 0, 8])])
def test_neighbor_loader_gives_the_full_graphs_rows(tmp_path, chosen) -> None:
    data, teacher = karate(), gcn()
    loader = NeighborLoader(data, [-1] * 4, input_nodes=chosen, batch_size=5, shuffle=True)
    store = build(tmp_path, teacher, loader)
    ids = slice(None) if chosen is None else chosen
    check(store, *live(teacher, data.x, data.edge_index), ids)
    hetero = academic()
    teacher = HeteroTeacher(hetero)
    loader = NeighborLoader(hetero, [-1, -1], input_nodes=("paper", None), batch_size=5)
    store = build(tmp_path / "hetero", teacher, loader, tap="conv")
    z = teacher(hetero.x_dict, hetero.edge_index_dict)["paper"]
    torch.testing.assert_close(store[:].z, z.detach())


def test_partitions_keep_all_their_nodes(tmp_path) -> None:
    data, teacher = karate(), gcn()
    with pytest.raises(ValueError, match=r"data\.n_id = torch\.arange"):
        build(tmp_path, teacher, RandomNodeLoader(data, num_parts=3))
    data.n_id = torch.arange(34)
    batches = list(RandomNodeLoader(data, num_parts=3, shuffle=True))
    store = build(tmp_path, teacher, batches)
    for batch in batches:
        h, z = live(teacher, batch.x, batch.edge_index)
        torch.testing.assert_close(store[batch.n_id].h, h)
        torch.testing.assert_close(store[batch.n_id].z, z)


def test_a_sparse_adjacency_is_the_same_graph(tmp_path) -> None:
    data, teacher = karate(), gcn()
    store = build(tmp_path, teacher, data)
    sparse = Data(x=data.x, adj_t=to_torch_csr_tensor(data.edge_index.flip(0), size=(34, 34)))
    shuffled = Data(x=data.x, edge_index=data.edge_index[:, torch.randperm(data.num_edges)])
    for same in (sparse, shuffled):
        assert TeacherStore.open(store.path, same).num_nodes == 34
    check(build(tmp_path / "b", teacher, sparse), *live(teacher, data.x, data.edge_index))


def test_without_a_tap_the_teacher_returns_the_pair_or_logits_alone(tmp_path) -> None:
    data, teacher = karate(), gcn()
    _, z = live(teacher, data.x, data.edge_index)
    alone = build(tmp_path / "a", teacher, data, tap=None)
    assert alone.dim_h is None
    assert alone[3].h is None
    assert torch.equal(alone[3].z, z[3])

    def pair(model, batch):
        z = model(batch.x, batch.edge_index)
        return z * 2, z

    check(build(tmp_path / "b", teacher, data, tap=None, forward=pair), 2 * z, z)


def test_the_teacher_is_left_as_it_was(tmp_path) -> None:
    data, teacher = karate(), gcn().train()
    teacher.convs[1].eval()
    modes = [module.training for module in teacher.modules()]
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    x = data.x
    store = build(tmp_path, teacher, data)
    assert [module.training for module in teacher.modules()] == modes
    assert all(p.requires_grad and p.grad is None for p in teacher.parameters())
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert not teacher.convs[1]._forward_hooks
    assert data.x is x
    frozen = build(tmp_path / "frozen", freeze(gcn()), data)
    assert torch.equal(frozen[:].z, store[:].z)


def test_workers_read_a_pickled_store(tmp_path) -> None:
    data, teacher = karate(), gcn()
    store = build(tmp_path, teacher, data)
    assert torch.equal(pickle.loads(pickle.dumps(store))[:].z, store[:].z)
    loader = TorchLoader(
        range(34),
        batch_size=9,
        num_workers=2,
        collate_fn=Reader(store),
    )
    assert torch.equal(torch.cat(list(loader)), store[:].z)


def z_times(factor: float):
    return lambda model, batch: factor * model(batch.x, batch.edge_index)


@pytest.mark.parametrize(
    ("dtype", "factor"), [(torch.float16, 1e6), (torch.bfloat16, 1e39), (torch.float32, 1e39)]
)
def test_a_value_that_overflows_is_an_error(tmp_path, dtype, factor) -> None:
    data, teacher = karate(), gcn().double()
    data.x = data.x.double()
    with pytest.raises(
        ValueError, match=r"z reaches .*e\+\d+, which .* cannot hold.*torch\.float32"
    ):
        build(tmp_path, teacher, data, dtype, forward=z_times(factor))
    store = build(tmp_path, teacher, data, torch.float64, forward=z_times(factor))
    assert store[:].z.isfinite().all()


@pytest.mark.parametrize(
    ("value", "expected"),
    [(torch.nan, pytest.warns(UserWarning, match="z holds NaN")), (torch.inf, nullcontext())],
)
def test_nan_and_infinity_are_kept_and_nan_is_told(tmp_path, value, expected) -> None:
    """Infinite logits are those of masked classes."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with expected:
            store = build(
                tmp_path, gcn(), karate(), torch.float16, tap=None,
                forward=lambda model, batch: torch.full((34, 2), value),
            )  # fmt: skip
    rows = torch.full((34, 2), value, dtype=torch.float16)
    torch.testing.assert_close(store[:].z, rows, equal_nan=True)


class Reader:
    def __init__(self, store: TeacherStore) -> None:
        self.store = store

    def __call__(self, ids: list[int]) -> torch.Tensor:
        return self.store[torch.tensor(ids)].z


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_teacher_and_ids_on_a_gpu(tmp_path) -> None:
    data, teacher = karate(), gcn().cuda()
    store = build(tmp_path, teacher, data)
    assert data.x.device.type == "cpu"
    h, z = live(teacher, data.x.cuda(), data.edge_index.cuda())
    rows = store[torch.arange(34, device="cuda")]
    torch.testing.assert_close(rows.h, h)
    torch.testing.assert_close(rows.z, z)
