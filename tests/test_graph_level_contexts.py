"""LLP's and MuGSI's own cases: options and refusals, and the walks that feed them."""

import itertools

import pytest
import torch
from torch import Tensor, nn

import graphkd
import graphkd.functional as G

RING = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])


def test_llp_shows_a_teachers_nan_and_takes_few_columns() -> None:
    z_s, z_t = torch.rand(4, 3, requires_grad=True), torch.rand(4, 3)
    z_t[1, 2] = torch.nan
    rows = G.llp_rank_loss(z_s, z_t, reduction="none")
    assert rows.isnan().tolist() == [False, True, False, False]
    for function in (G.llp_rank_loss, G.llp_distribution_loss):
        assert function(z_s[:, :1], z_t[:, :1]) == 0
        index = torch.tensor([3, 0])
        chosen = function(z_s, z_t, index=index, reduction="none")
        torch.testing.assert_close(chosen, function(z_s, z_t, reduction="none")[index])
        weight = torch.tensor([1.0, 5.0, 5.0, 3.0])
        mean = function(z_s, z_t, index=index, weight=weight)
        torch.testing.assert_close(mean, (3 * chosen[0] + chosen[1]) / 4)
        with pytest.raises(ValueError, match="score the same context"):
            function(z_s, z_t[:, :2])
        with pytest.raises(ValueError, match=r"z_s and z_t must have one row"):
            function(z_s, z_t[:2])
    for bad in ({"margin": 0.0}, {"reduction": "avg"}):
        with pytest.raises(ValueError, match="got"):
            G.llp_rank_loss(z_s, z_t, **bad)
    with pytest.raises(ValueError, match="temperature must be positive"):
        G.llp_distribution_loss(z_s, z_t, temperature=-1.0)


def test_llps_anchors_are_rows_of_all_nodes() -> None:
    h_s, h_t = torch.randn(2, 9, 4, dtype=torch.float64)
    context, anchors = torch.randint(0, 9, (9, 5)), torch.tensor([4, 4, 0])
    every = G.llp_loss(h_s, h_t, context, reduction="none")
    some = G.llp_loss(h_s, h_t, context[anchors], anchors, reduction="none")
    torch.testing.assert_close(some, every[anchors])
    last = G.llp_loss(
        h_s, h_t, context[anchors].int(), anchors.int(), index=torch.tensor([2]), reduction="none"
    )
    torch.testing.assert_close(last, every[:1])


def test_llp_refuses_contexts_and_decoders_that_do_not_fit() -> None:
    h, context = torch.randn(9, 4), torch.randint(0, 9, (9, 5))

    def flat(x: Tensor, y: Tensor) -> Tensor:
        return (x * y).sum()

    for wrong, error, words in (
        (None, TypeError, "context must be an int64 tensor"),
        (context.float(), TypeError, "link_context"),
        (context[0], ValueError, r"shape \[M, k\]"),
        (context[:4], ValueError, "one row for each of 9 anchors"),
        (context + 9, IndexError, "there are 9 rows"),
        (context - 9, IndexError, "names node -"),
    ):
        with pytest.raises(error, match=words):
            G.llp_loss(h, h, wrong)
    with pytest.raises(IndexError, match="anchors names node 9"):
        G.llp_loss(h, h, context[:1], torch.tensor([9]))
    with pytest.raises(ValueError, match=r"returns scores \(9, 5\)"):
        G.llp_loss(h, h, context, decoder=(flat, flat))
    with pytest.raises(ValueError, match="reference backend only"):
        graphkd.LLPLoss(decoder=(flat, flat), backend="chunked")
    with pytest.raises(TypeError, match="rank_weight must be a number"):
        graphkd.LLPLoss(rank_weight="1")


def test_llps_decoders_stay_parts_of_their_models() -> None:
    decoders = [nn.Bilinear(4, 4, 1), nn.Bilinear(4, 4, 1)]
    decoders[1].eval()
    loss = graphkd.LLPLoss(decoder=decoders).train()
    assert not list(loss.parameters())
    assert not decoders[1].training
    h, context = torch.randn(9, 4), torch.randint(0, 9, (9, 5))
    loss(h, h, context).backward()
    assert decoders[0].weight.grad is not None
    assert decoders[1].weight.grad is None


def test_mugsi_needs_what_its_weights_ask_for() -> None:
    h, wide = torch.randn(6, 4), torch.randn(6, 5)
    clusters, paths = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([[0, 1, 2]])
    with pytest.raises(TypeError, match="clusters is missing; got None"):
        G.mugsi_loss(h, h, paths=paths)
    with pytest.raises(TypeError, match="paths is missing"):
        G.mugsi_loss(h, h, clusters=clusters)
    with pytest.raises(ValueError, match="one entry per row"):
        G.mugsi_loss(h, h, clusters=clusters[:3], paths=paths)
    with pytest.raises(TypeError, match="batch must be an int64 tensor"):
        G.mugsi_loss(h, h, clusters.bool(), clusters, paths)
    with pytest.raises(ValueError, match="at least two nodes"):
        G.mugsi_loss(h, h, clusters=clusters, paths=paths[:, :1])
    with pytest.raises(IndexError, match="paths names node 6"):
        G.mugsi_loss(h, h, clusters=clusters, paths=paths + 4)
    with pytest.raises(ValueError, match="MuGSILoss"):
        G.mugsi_loss(h, wide, clusters=clusters, paths=paths)
    assert G.mugsi_loss(h, wide, clusters=clusters, paths=paths, graph_weight=0.0) > 0


def test_mugsis_head_serves_the_graphs_alone() -> None:
    h_s, h_t = torch.randn(6, 4), torch.randn(6, 5)
    given = {"clusters": torch.tensor([0, 0, 1, 1, 2, 2]), "paths": torch.tensor([[0, 1, 2]])}
    edges = torch.randint(0, 6, (2, 12))
    for head in ("linear", "mlp", "gcn"):
        loss = graphkd.MuGSILoss(4, 5, head=head)
        total = loss(h_s, h_t, **given, edge_index=edges)
        total.backward()
        assert all(p.grad is not None for p in loss.parameters())
        rest = graphkd.MuGSILoss(4, 5, head=head, graph_weight=0.0)
        assert not list(rest.parameters())
        assert rest(h_s, h_t, **given) < total
        torch.testing.assert_close(
            rest(h_s, h_t, **given), G.mugsi_loss(h_s, h_t, **given, graph_weight=0.0)
        )


def test_mugsi_of_a_batch_is_the_mean_over_its_graphs() -> None:
    h_s, h_t = torch.randn(2, 12, 4, dtype=torch.float64)
    batch = torch.tensor([7, 2, 2, 7, 7, 2, 7, 2, 2, 7, 2, 7])
    clusters = torch.tensor([0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2])
    whole = G.mugsi_loss(h_s, h_t, batch, clusters, path_weight=0.0)
    parts = [
        G.mugsi_loss(h_s[own], h_t[own], clusters=clusters[own], path_weight=0.0)
        for own in (batch == 2, batch == 7)
    ]
    torch.testing.assert_close(whole, (parts[0] + parts[1]) / 2)
    renamed = G.mugsi_loss(h_s, h_t, -batch, 10 * clusters + batch, path_weight=0.0)
    torch.testing.assert_close(renamed, whole)


def test_walks_follow_edges_and_stay_where_none_leads_on() -> None:
    edge_index = torch.tensor([[0, 0, 1, 2, 5], [1, 2, 3, 3, 0]])
    walks = G.random_walks(edge_index, 6, length=3, generator=torch.Generator().manual_seed(0))
    edges = set(map(tuple, edge_index.t().tolist())) | {(3, 3), (4, 4)}
    assert walks.shape == (6, 4)
    assert walks[:, 0].tolist() == list(range(6))
    for walk in walks.tolist():
        assert set(itertools.pairwise(walk)) <= edges
    many = G.random_walks(edge_index, 6, torch.zeros(2000, dtype=torch.long), length=1)
    assert 900 < int((many[:, 1] == 1).sum()) < 1100
    graph = graphkd.Graph(edge_index, 6)
    for given in (edge_index, graph):
        again = G.random_walks(given, 6, length=3, generator=torch.Generator().manual_seed(0))
        assert torch.equal(walks, again)
    assert G.random_walks(torch.empty(2, 0, dtype=torch.long), 2, length=2).tolist() == [
        [0, 0, 0],
        [1, 1, 1],
    ]


def test_contexts_are_near_and_far() -> None:
    context = G.link_context(RING, 4, torch.tensor([2, 0]), num_walks=2, num_random=50)
    assert context.shape == (2, 54)
    assert context[:, :4].tolist() == [[3, 0, 3, 0], [1, 2, 1, 2]]
    assert set(context[:, 4:].flatten().tolist()) == {0, 1, 2, 3}
    draws = [
        G.link_context(RING, 4, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    torch.manual_seed(3)
    first = G.link_context(RING, 4)
    torch.manual_seed(3)
    assert torch.equal(first, G.link_context(RING, 4))
    with pytest.raises(IndexError, match="anchors names node 4"):
        G.link_context(RING, 4, torch.tensor([4]))
    with pytest.raises(ValueError, match="walk_length must be at least 1"):
        G.link_context(RING, 4, walk_length=0)
    with pytest.raises(ValueError, match="one set of nodes"):
        G.random_walks(graphkd.Graph(RING, (4, 5)), 4)
    with pytest.raises(TypeError, match=r"torch\.Generator"):
        G.random_walks(RING, 4, generator=0)
