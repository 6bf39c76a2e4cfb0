"""Sampled batches: a fan-out of -1 gives the full graph's value on the seeds, for every loss.

Batches come from ``k_hop_subgraph`` in every run, and from PyG's loaders if a sampler is installed.
No batch has its seeds first.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.loader import GraphSAINTRandomWalkSampler, NeighborLoader, RandomNodeLoader
from torch_geometric.nn import SAGEConv
from torch_geometric.utils import k_hop_subgraph, subgraph

import graphkd
from graphkd import rows_of
from tests.contract import LOSSES, Loss, every

N, LAYERS = 80, 2
SEEDS = torch.tensor([41, 3, 17, 77, 8, 59])


@pytest.fixture
def data() -> Data:
    edge_index = torch.randint(0, N, (2, 3 * N)).unique(dim=1)
    return Data(x=torch.randn(N, 4, dtype=torch.float64), edge_index=edge_index, num_nodes=N)


class Sage(nn.Module):
    """Gives hidden states and logits."""

    def __init__(self, width: int, classes: int = 3) -> None:
        super().__init__()
        self.convs = nn.ModuleList(SAGEConv(size, width) for size in (4, width))
        self.out = nn.Linear(width, classes)
        self.double()

    def forward(self, data: Data) -> tuple[Tensor, Tensor]:
        h = data.x
        for conv in self.convs:
            h = conv(h, data.edge_index).tanh()
        return h, self.out(h)


def closure(data: Data, seeds: Tensor, hops: int) -> Data:
    """The seeds with all in-neighbours up to ``hops`` away, in random order."""
    n_id, _, _, _ = k_hop_subgraph(seeds, hops, data.edge_index, num_nodes=N)
    n_id = n_id[torch.randperm(n_id.numel())]
    edge_index, _ = subgraph(n_id, data.edge_index, num_nodes=N)
    rows = torch.empty(N, dtype=torch.long).index_copy(0, n_id, torch.arange(n_id.numel()))
    return Data(x=data.x[n_id], edge_index=rows[edge_index], n_id=n_id, input_id=seeds)


def neighbor_batches(data: Data, seeds: Tensor, hops: int, batch_size: int) -> Iterator[Data]:
    """PyG's batches with their rows in another order, so that the seeds do not come first."""
    loader = NeighborLoader(
        data, [-1] * hops, input_nodes=seeds, batch_size=batch_size, shuffle=True
    )
    for batch in loader:
        order = torch.randperm(batch.num_nodes)
        edge_index = order.argsort()[batch.edge_index]
        ids = seeds[batch.input_id]
        yield Data(x=batch.x[order], edge_index=edge_index, n_id=batch.n_id[order], input_id=ids)


class Case:
    """A loss with a student and a teacher, on any graph."""

    def __init__(self, loss: Loss, options: dict) -> None:
        self.loss, (dim_s, dim_t) = loss, loss.dims
        self.student, self.teacher = Sage(dim_s), Sage(dim_t)
        self.module = loss.build(dim_s, dim_t, **options).double().eval()

    def value(self, data: Data, index: Tensor) -> Tensor:
        (h_s, z_s), (h_t, z_t) = self.student(data), self.teacher(data)
        pair = (z_s, z_t) if self.loss.logits else (h_s, h_t)
        return self.loss.call_module(self.module, *pair, data.edge_index, index=index)

    def gradient(self, value: Tensor) -> Tensor:
        gradients = torch.autograd.grad(value, list(self.student.parameters()), allow_unused=True)
        return torch.cat([g.flatten() for g in gradients if g is not None])


def agree(case: Case, data: Data, batch: Data) -> None:
    sampled = case.value(batch, rows_of(batch.input_id, batch.n_id))
    full = case.value(data, batch.input_id)
    torch.testing.assert_close(sampled, full)
    torch.testing.assert_close(case.gradient(sampled), case.gradient(full))


def hops(loss: Loss) -> int:
    """LSP compares the seeds with their neighbours, whose embeddings need one hop more."""
    return LAYERS + loss.edges


@every(variants=True, where=lambda loss: loss.row_wise and loss.of_seeds)
def test_all_neighbours_give_the_full_graphs_value(loss: Loss, options: dict, data: Data) -> None:
    agree(Case(loss, options), data, closure(data, SEEDS, hops(loss)))


@pytest.mark.sampler
@every(variants=True, where=lambda loss: loss.row_wise and loss.of_seeds)
def test_so_they_do_from_a_neighbor_loader(loss: Loss, options: dict, data: Data) -> None:
    (batch,) = neighbor_batches(data, SEEDS, hops(loss), batch_size=6)
    agree(Case(loss, options), data, batch)


ROW_WISE = [loss for loss in LOSSES if loss.name in ("lsp", "kd", "fitnet")]


def summed(case: Case, batches: Any) -> Tensor:
    values = [case.value(batch, rows_of(batch.input_id, batch.n_id)) for batch in batches]
    return torch.stack(values).sum()


@pytest.mark.parametrize("loss", ROW_WISE, ids=lambda loss: loss.name)
def test_batches_add_up_to_the_whole(loss: Loss, data: Data) -> None:
    case = Case(loss, {"reduction": "sum"})
    batches = [closure(data, seeds, hops(loss)) for seeds in torch.randperm(N).split(13)]
    torch.testing.assert_close(summed(case, batches), case.value(data, torch.arange(N)))


@pytest.mark.sampler
@pytest.mark.parametrize("loss", ROW_WISE, ids=lambda loss: loss.name)
def test_batches_of_a_neighbor_loader_add_up(loss: Loss, data: Data) -> None:
    case = Case(loss, {"reduction": "sum"})
    batches = neighbor_batches(data, torch.arange(N), hops(loss), batch_size=13)
    torch.testing.assert_close(summed(case, batches), case.value(data, torch.arange(N)))


def test_fewer_neighbours_change_lsp(data: Data) -> None:
    case = Case(next(loss for loss in LOSSES if loss.name == "lsp"), {})
    batch = closure(data, SEEDS, 3)
    few = batch.edge_index[:, ::2]
    rows = rows_of(SEEDS, batch.n_id)
    assert case.value(Data(**{**batch.to_dict(), "edge_index": few}), rows) != case.value(
        batch, rows
    )


@pytest.mark.parametrize("kernel", ["cosine", "l2"])
def test_induced_partitions_give_lsp_without_the_edges_between(kernel: str, data: Data) -> None:
    """As with clusters, the parts' sums equal the whole graph's without the cut edges."""
    h_s, h_t = torch.randn(2, N, 5, dtype=torch.float64).unbind()
    loss = graphkd.LSPLoss(kernel, reduction="sum")
    whole = Data(edge_index=data.edge_index, num_nodes=N, n_id=torch.arange(N))
    part = torch.zeros(N, dtype=torch.long)
    values = []
    for number, batch in enumerate(RandomNodeLoader(whole, num_parts=4)):
        part[batch.n_id] = number
        values.append(loss(h_s[batch.n_id], h_t[batch.n_id], batch.edge_index))
    assert len(values) == 4
    src, dst = data.edge_index
    kept = data.edge_index[:, part[src] == part[dst]]
    torch.testing.assert_close(sum(values), loss(h_s, h_t, kept))


@pytest.mark.sampler
def test_graph_saint_batches_are_induced_subgraphs(data: Data) -> None:
    data.n_id = torch.arange(N)
    h_s, h_t = torch.randn(2, N, 5, dtype=torch.float64).unbind()
    loss = graphkd.LSPLoss(reduction="none")
    loader = GraphSAINTRandomWalkSampler(data, batch_size=5, walk_length=3, num_steps=2)
    for batch in loader:
        inside = torch.zeros(N, dtype=torch.bool).index_fill(0, batch.n_id, True)
        src, dst = data.edge_index
        edges = data.edge_index[:, inside[src] & inside[dst]]
        torch.testing.assert_close(
            loss(h_s[batch.n_id], h_t[batch.n_id], batch.edge_index),
            loss(h_s, h_t, edges)[batch.n_id],
        )


def test_rows_of() -> None:
    n_id = torch.randperm(500)[:60]
    rows = torch.randperm(60)[:17]
    assert torch.equal(rows_of(n_id[rows], n_id), rows)
    assert torch.equal(rows_of(n_id[rows].int(), n_id), rows)
    twice = torch.cat([rows, rows])
    assert torch.equal(rows_of(n_id[twice], n_id), twice)
    assert rows_of(n_id[:0], n_id).shape == (0,)
    assert rows_of(n_id[:0], n_id[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("ids", "n_id", "error", "says"),
    [
        ([1, 4], [1, 2, 3], ValueError, "node 4 is not in the batch of 3 rows"),
        ([9], [], ValueError, "node 9 is not in the batch, which has no rows"),
        ([0], [1, 2], ValueError, r"input_nodes\[batch.input_id\]"),
        ([9, 1, 4], [1, 4], ValueError, r"pass ids first, rows_of\(ids, n_id\)"),
        ([5, 2], [2, 5, 3, 2], ValueError, "node 2 has several rows"),
        ([[1]], [1, 2], ValueError, "ids must be one-dimensional"),
        ([1.0], [1, 2], TypeError, "ids must be an int64 tensor"),
        ([True, False], [1, 2], TypeError, "pass mask.nonzero"),
    ],
)
def test_rows_that_are_not_there(ids: list, n_id: list, error: type[Exception], says: str) -> None:
    n_id = torch.tensor(n_id, dtype=torch.long)
    with pytest.raises(error, match=says):
        rows_of(torch.tensor(ids), n_id)
