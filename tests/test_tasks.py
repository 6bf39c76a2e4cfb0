"""Graph-level, link-level, multi-label and regression use: batches of graphs, and masks."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.nn import global_add_pool, global_mean_pool

import graphkd
import graphkd.functional as G

few = settings(max_examples=25, deadline=None, derandomize=True)
seeds = st.integers(0, 2**20)
# Includes empty graphs and graphs of one node.
some_sizes = st.lists(st.integers(0, 7), min_size=1, max_size=6)


def graphs_of(sizes: list[int], seed: int) -> list[Data]:
    """Graphs with random edges, if any, and embeddings of a student and a teacher."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    graphs = []
    for n in sizes:
        edges = int(torch.randint(0, 3 * n + 1, (), generator=generator)) if n else 0
        edge_index = torch.randint(0, max(n, 1), (2, edges), generator=generator)
        graphs.append(Data(edge_index=edge_index, h_s=normal(n, 4), h_t=normal(n, 6), num_nodes=n))
    return graphs


def weighted(values: list[Tensor], weights: list[int]) -> Tensor:
    total = sum(w * v for v, w in zip(values, weights, strict=True))
    return torch.as_tensor(total / max(sum(weights), 1), dtype=torch.float64)


def gradients(value: Tensor, leaves: list[Tensor]) -> Tensor:
    return torch.cat(torch.autograd.grad(value, leaves, allow_unused=False))


# Batches of graphs --------------------------------------------------------------------------------


@few
@given(sizes=some_sizes, seed=seeds)
def test_attention_transfer_of_a_batch_is_the_mean_over_graphs_by_nodes(
    sizes: list[int], seed: int
) -> None:
    graphs = graphs_of(sizes, seed)
    leaves = [graph.h_s.requires_grad_() for graph in graphs]
    loss = graphkd.AttentionTransferLoss()
    alone = weighted([loss(graph.h_s, graph.h_t) for graph in graphs], sizes)
    batch = Batch.from_data_list(graphs)
    value = loss(batch.h_s, batch.h_t, batch.batch)
    torch.testing.assert_close(value, alone)
    if sum(sizes):
        torch.testing.assert_close(gradients(value, leaves), gradients(alone, leaves))


@few
@given(sizes=some_sizes, seed=seeds)
def test_attention_transfer_takes_the_nodes_of_a_batch_in_any_order(
    sizes: list[int], seed: int
) -> None:
    batch = Batch.from_data_list(graphs_of(sizes, seed))
    order = torch.randperm(sum(sizes), generator=torch.Generator().manual_seed(seed))
    ids = torch.randperm(len(sizes)) * 1000 - 500  # not consecutive, some negative
    rows = G.attention_transfer_loss(batch.h_s, batch.h_t, batch.batch, reduction="none")
    mixed = ids[batch.batch][order]
    ours = G.attention_transfer_loss(batch.h_s[order], batch.h_t[order], mixed, reduction="none")
    torch.testing.assert_close(ours, rows[order])


@few
@given(sizes=some_sizes, seed=seeds)
def test_selection_in_a_batch_is_selection_in_each_graph(sizes: list[int], seed: int) -> None:
    graphs = graphs_of(sizes, seed)
    for graph in graphs:
        graph.chosen = torch.rand(graph.num_nodes) < 0.5
    batch = Batch.from_data_list(graphs)
    value = G.attention_transfer_loss(batch.h_s, batch.h_t, batch.batch, index=batch.chosen)
    alone = [G.attention_transfer_loss(g.h_s, g.h_t, index=g.chosen) for g in graphs]
    torch.testing.assert_close(value, weighted(alone, [int(g.chosen.sum()) for g in graphs]))


@pytest.mark.parametrize(
    "options",
    [{}, {"divergence": "mse"}, {"kernel": "l2"}, {"kernel": "rbf"}, {"kernel": "poly"}],
    ids=str,
)
@few
@given(sizes=some_sizes, seed=seeds)
def test_lsp_of_a_batch_is_the_mean_over_graphs_by_centres(
    options: dict, sizes: list[int], seed: int
) -> None:
    graphs = graphs_of(sizes, seed)
    leaves = [graph.h_s.requires_grad_() for graph in graphs]
    loss = graphkd.LSPLoss(**options)
    centres = [graph.edge_index[1].unique().numel() for graph in graphs]
    alone = weighted([loss(g.h_s, g.h_t, g.edge_index) for g in graphs], centres)
    batch = Batch.from_data_list(graphs)
    value = loss(batch.h_s, batch.h_t, batch.edge_index)
    torch.testing.assert_close(value, alone)
    if sum(centres):
        torch.testing.assert_close(gradients(value, leaves), gradients(alone, leaves))


def test_the_median_bandwidth_is_one_for_the_whole_batch() -> None:
    """The exception to the law above; the docs name it."""
    graphs = graphs_of([6, 6], seed=3)
    graphs[1].h_t = graphs[1].h_t * 10
    loss = graphkd.LSPLoss("rbf", gamma="median")
    centres = [graph.edge_index[1].unique().numel() for graph in graphs]
    alone = weighted([loss(g.h_s, g.h_t, g.edge_index) for g in graphs], centres)
    batch = Batch.from_data_list(graphs)
    assert abs(loss(batch.h_s, batch.h_t, batch.edge_index) / alone - 1) > 1e-3


@pytest.mark.parametrize("pool", [global_mean_pool, global_add_pool])
def test_pooled_rows_are_those_of_the_graphs_one_by_one(pool) -> None:
    graphs = graphs_of([4, 0, 1, 7, 3], seed=1)
    batch = Batch.from_data_list(graphs)
    g_s, g_t = (pool(h, batch.batch, batch.num_graphs) for h in (batch.h_s, batch.h_t))
    reduce = {
        global_mean_pool: lambda h: h.sum(0) / max(len(h), 1),
        global_add_pool: lambda h: h.sum(0),
    }
    rows_s, rows_t = (torch.stack([reduce[pool](g[k]) for g in graphs]) for k in ("h_s", "h_t"))
    loss = graphkd.GCRDLoss(4, 6, 5, head="linear").double()
    torch.testing.assert_close(loss(g_s, g_t), loss(rows_s, rows_t))
    for task in ("multiclass", "multilabel", "regression"):
        rows = G.kd_loss(g_s, g_t[:, :4], task=task, reduction="none")
        one_by_one = [G.kd_loss(s[None], t[None, :4], task=task)
                      for s, t in zip(rows_s, rows_t, strict=True)]  # fmt: skip
        torch.testing.assert_close(rows, torch.stack(one_by_one))


def test_an_empty_graph_has_a_pooled_row_of_zeros_without_a_gradient() -> None:
    graphs = graphs_of([4, 0, 3], seed=2)
    batch = Batch.from_data_list(graphs)
    g_s = global_mean_pool(batch.h_s, batch.batch, 3).requires_grad_()
    g_t = global_mean_pool(batch.h_s.flip(1), batch.batch, 3)
    rows = G.gcrd_loss(g_s, g_t, reduction="none")
    torch.testing.assert_close(rows[1], torch.tensor(3.0, dtype=torch.float64).log())
    (gradient,) = torch.autograd.grad(rows.sum(), g_s)
    assert gradient.isfinite().all()
    assert (gradient[1] == 0).all()
    assert (gradient[0] != 0).any()


# Masks for missing labels -------------------------------------------------------------------------


def bernoulli_kl(z_s: float, z_t: float, temperature: float) -> float:
    p, q = (1 / (1 + math.exp(-z / temperature)) for z in (z_s, z_t))
    kl = q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p))
    return temperature**2 * kl


def labels_with_holes(n: int, c: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z_s, z_t = torch.randn(2, n, c, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 2, (n, c), generator=generator).double()
    missing = torch.rand(n, c, generator=generator) < 0.4
    return z_s.requires_grad_(), z_t, y.masked_fill(missing, torch.nan)


@few
@given(n=st.integers(1, 8), c=st.integers(1, 5), seed=seeds, temperature=st.floats(0.5, 8))
def test_masked_multilabel_kd_by_hand(n: int, c: int, seed: int, temperature: float) -> None:
    z_s, z_t, y = labels_with_holes(n, c, seed)
    known = ~y.isnan()
    entries = [bernoulli_kl(z_s[i, k].item(), z_t[i, k].item(), temperature)
               for i, k in known.nonzero().tolist()]  # fmt: skip
    value = G.kd_loss(z_s, z_t, temperature=temperature, task="multilabel", mask=known)
    assert value.item() == pytest.approx(sum(entries) / max(len(entries), 1), rel=1e-9, abs=1e-15)
    (gradient,) = torch.autograd.grad(value, z_s)
    gap = (z_s / temperature).sigmoid() - (z_t / temperature).sigmoid()
    wanted = (temperature * gap * known / max(len(entries), 1)).detach()
    torch.testing.assert_close(gradient, wanted)


@few
@given(n=st.integers(1, 8), c=st.integers(1, 5), seed=seeds)
def test_masked_regression_by_hand(n: int, c: int, seed: int) -> None:
    z_s, z_t, y = labels_with_holes(n, c, seed)
    known = ~y.isnan()
    gaps = [(z_s[i, k] - z_t[i, k]).item() for i, k in known.nonzero().tolist()]
    value = graphkd.KDLoss(task="regression")(z_s, z_t, mask=known)
    assert value.item() == pytest.approx(sum(g * g for g in gaps) / max(len(gaps), 1), rel=1e-9)
    (gradient,) = torch.autograd.grad(value, z_s)
    torch.testing.assert_close(gradient, (2 * (z_s - z_t) * known / max(len(gaps), 1)).detach())


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_a_label_that_is_never_observed_teaches_nothing(task: str) -> None:
    z_s, z_t, y = labels_with_holes(30, 4, seed=0)
    y[:, 2] = torch.nan
    linear = torch.nn.Linear(4, 4).double()
    value = graphkd.KDLoss(task=task)(linear(z_s), z_t.masked_fill(y.isnan(), torch.inf),
                                      mask=~y.isnan())  # fmt: skip
    value.backward()
    assert value.isfinite()
    assert (linear.weight.grad[2] == 0).all()
    assert linear.bias.grad[2] == 0
    assert (linear.weight.grad[[0, 1, 3]] != 0).any(dim=1).all()
    seen = [0, 1, 3]
    fewer = graphkd.KDLoss(task=task)(linear(z_s)[:, seen], z_t[:, seen], mask=~y[:, seen].isnan())
    torch.testing.assert_close(value, fewer)


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_a_mask_is_selected_with_its_rows(task: str) -> None:
    z_s, z_t, y = labels_with_holes(9, 4, seed=1)
    rows = torch.tensor([7, 0, 3])
    value = G.kd_loss(z_s, z_t, task=task, mask=~y.isnan(), index=rows)
    chosen = G.kd_loss(z_s[rows], z_t[rows], task=task, mask=~y[rows].isnan())
    torch.testing.assert_close(value, chosen)


# Links --------------------------------------------------------------------------------------------


def test_link_logits_are_one_yes_or_no_label() -> None:
    generator = torch.Generator().manual_seed(0)
    h_s, h_t = (torch.randn(12, d, generator=generator, dtype=torch.float64) for d in (3, 5))
    h_s.requires_grad_()
    src, dst = torch.randint(0, 12, (2, 40), generator=generator)
    score_s, score_t = ((h[src] * h[dst]).sum(dim=1) for h in (h_s, h_t))
    value = G.kd_loss(score_s[:, None], score_t[:, None], task="multilabel", temperature=2.0)
    by_hand = [bernoulli_kl(s.item(), t.item(), 2.0) for s, t in zip(score_s, score_t, strict=True)]
    assert value.item() == pytest.approx(sum(by_hand) / 40, rel=1e-9)
    (gradient,) = torch.autograd.grad(value, h_s)
    slope = ((score_s / 2).sigmoid() - (score_t / 2).sigmoid()).detach()[:, None] * 2 / 40
    wanted = torch.zeros_like(h_s).index_add(0, src, slope * h_s[dst])
    torch.testing.assert_close(gradient, wanted.index_add(0, dst, slope * h_s[src]).detach())
    # Two classes with a logit of zero for "no link" are the same distribution.
    pairs = (torch.stack([z, torch.zeros_like(z)], dim=1) for z in (score_s, score_t))
    torch.testing.assert_close(value, G.kd_loss(*pairs, temperature=2.0))


def test_link_scores_without_a_probability_are_regression() -> None:
    score_s, score_t = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.0, 1.0, 0.5])
    value = G.kd_loss(score_s[:, None], score_t[:, None], task="regression")
    assert value.item() == pytest.approx((1 + 9 + 0) / 3)


def test_scores_need_a_second_dimension_and_the_error_says_so() -> None:
    with pytest.raises(ValueError, match="two-dimensional"):
        G.kd_loss(torch.randn(5), torch.randn(5), task="multilabel")


def test_certain_link_logits_stay_finite() -> None:
    z_s = torch.tensor([[80.0], [-80.0], [300.0]], requires_grad=True)
    z_t = torch.tensor([[-80.0], [80.0], [300.0]])
    rows = G.kd_loss(z_s, z_t, temperature=1.0, task="multilabel", reduction="none")
    torch.testing.assert_close(rows, torch.tensor([80.0, 80.0, 0.0]))
    (gradient,) = torch.autograd.grad(rows.sum(), z_s)
    torch.testing.assert_close(gradient, torch.tensor([[1.0], [-1.0], [0.0]]))
