"""Ids far beyond the graph, such as hashes: an error names one, or they are only compared."""

import pytest
import torch
from torch_geometric.data import Data

import graphkd
import graphkd.functional as G
from graphkd import CRDLoss, GCRDLoss, Graph
from tests.store_loaders import build, gcn, karate, khop_batches

HASHES = [2**36, 2**62, 2**63 - 2]


@pytest.fixture(params=HASHES)
def big(request) -> int:
    return request.param


def test_what_has_a_place_for_each_node_is_refused_with_an_id(big) -> None:
    edges = torch.tensor([[0, big], [big, 1]])
    for call in (
        lambda: Graph(edges, big + 1),
        lambda: Graph(edges[:, :1].flip(0), (big + 1, 1)),
        lambda: G.random_walks(edges, big + 1),
        lambda: G.link_context(edges, big + 1, torch.tensor([big])),
    ):
        with pytest.raises(ValueError, match=rf"largest id in edge_index is {big}\. Renumber"):
            call()
    with pytest.raises(ValueError, match=rf"{big + 1} nodes needs .* more than there is\. Ren"):
        Graph(edges[:, :0], big + 1)
    with pytest.raises(ValueError, match=rf"num_nodes={big + 1} means two banks"):
        CRDLoss(4, 4, big + 1)
    local, n_id = torch.unique(edges, return_inverse=True)[::-1]
    assert Graph(local, len(n_id)).num_edges == 2


def test_ids_outside_the_rows_are_named(big) -> None:
    h, ids = torch.randn(3, 4), torch.tensor([1, 0, big])
    for call in (
        lambda: G.lsp_loss(h, h, ids[1:].view(2, 1)),
        lambda: G.lsp_loss(h, h, ids[1:].view(2, 1), backend="chunked"),
        lambda: CRDLoss(4, 4, 3)(h, h, ids),
        lambda: G.gcrd_loss(h, h, positives=ids[1:].view(2, 1)),
        lambda: G.llp_loss(h, h, ids.view(3, 1)),
        lambda: G.mugsi_loss(h, h, paths=ids.view(1, 3), cluster_weight=0.0),
        lambda: G.kd_loss(h, h, index=ids),
        lambda: G.dkd_loss(h, h, ids),
    ):
        with pytest.raises(IndexError, match=str(big)):
            call()


def test_ids_of_groups_may_be_any_numbers(big) -> None:
    h_s, h_t, groups = torch.randn(3, 4), torch.randn(3, 4), torch.tensor([0, 1, 1])
    for call in (
        lambda ids: G.attention_transfer_loss(h_s, h_t, batch=ids),
        lambda ids: G.gcrd_loss(h_s, h_t, labels=ids),
        lambda ids: G.mugsi_loss(h_s, h_t, batch=ids, clusters=ids, path_weight=0.0),
    ):
        torch.testing.assert_close(call(big * groups), call(groups))
    queue = GCRDLoss(4, 4, queue_size=5)
    assert queue(h_s, h_t, ids=big - torch.arange(3)).isfinite()
    assert graphkd.rows_of(torch.tensor([big]), torch.tensor([0, big])) == 1


def test_a_store_has_no_row_for_each_hash(tmp_path, big) -> None:
    def hashed(n_id: torch.Tensor) -> torch.Tensor:
        return big - n_id

    calls = []

    def forward(model: torch.nn.Module, batch: Data) -> torch.Tensor:
        calls.append(batch)
        return model(batch.x, batch.edge_index)

    data, batches = karate(), khop_batches(karate())
    named = Data(x=data.x, edge_index=data.edge_index, n_id=hashed(torch.arange(34)))
    edges = Data(edge_index=torch.tensor([[0], [big]]))
    for source, options, message in (
        ([named], {}, f"holds the id {big}.*pass ids="),
        (named, {}, f"holds the id {big}.*pass ids="),
        (batches, {"ids": lambda batch: hashed(batch.n_id)}, "holds the id .*pass num_nodes="),
        (batches, {"num_nodes": big + 1}, f"num_nodes={big + 1}.*pass ids="),
        (edges, {}, f"num_nodes={big + 1}.*pass ids="),
    ):
        with pytest.raises(ValueError, match=message):
            build(tmp_path, gcn(), source, forward=forward, **options)
    assert not calls
    store = build(tmp_path, gcn(), data)
    for request in (torch.tensor([big]), big, 4 * big, -4 * big):
        with pytest.raises(IndexError, match=str(int(request))):
            store[request]
    assert len(store[:big].z) == 34


def test_rows_that_no_disk_holds_are_refused(tmp_path) -> None:
    n_id = torch.tensor([3, 2**29])
    batch = Data(x=torch.ones(2, 8), edge_index=torch.ones(2, 1).long(), n_id=n_id)
    with pytest.raises(ValueError, match=r"holds the id 536870912\. .* and the disk of .* has"):
        build(tmp_path, gcn(), [batch], tap=None, forward=lambda m, b: torch.ones(2, 10**6))
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
        with pytest.raises(OSError, match=r"cannot be written: File too large\..*first batch only"):
            build(tmp_path, gcn(), khop_batches(karate()), num_nodes=2**20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())
