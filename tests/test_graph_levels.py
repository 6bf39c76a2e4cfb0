"""TINED, VQGraph, LLP and MuGSI against their released code, retyped."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import graphkd.functional as G


def double(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def same(ours: Tensor, released: Tensor, h: Tensor) -> None:
    """Both give the same value and the same gradient."""
    torch.testing.assert_close(ours, released, rtol=1e-9, atol=1e-12)
    gradients = (torch.autograd.grad(value, h, retain_graph=True) for value in (ours, released))
    torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-12)


def by_detached_norm(h: Tensor) -> Tensor:
    norm = h.norm(dim=1, keepdim=True).detach()
    return h / torch.where(norm == 0, torch.ones_like(norm), norm)


@pytest.mark.parametrize("measure", ["ratio", "root", "log"])
def test_tined_is_the_released_value_on_rows_divided_by_detached_norms(measure: str) -> None:
    edge_index = torch.randint(0, 20, (2, 70))
    x_s, x_t = double(20, 4).requires_grad_(), double(20, 6)
    weights = double(4, 5), double(5, 3)
    student = [x_s, x_s @ weights[0], (x_s @ weights[0]).relu() @ weights[1]]
    teacher = [x_t, x_t.tanh(), x_t.sigmoid()]

    def energy(h: Tensor) -> Tensor:
        h = by_detached_norm(h)
        return (h[edge_index[0]] - h[edge_index[1]]).pow(2).sum() / 20

    released = torch.zeros((), dtype=torch.float64)
    for layer in range(2):
        logs = [
            energy(chain[layer + 1]).log() - energy(chain[layer]).log()
            for chain in (student, teacher)
        ]
        if measure == "root":
            logs = [0.5 * value for value in logs]
        values = logs if measure == "log" else [value.exp() for value in logs]
        released = released + (values[0] - values[1]) ** 2
    ours = G.tined_loss(
        [by_detached_norm(h) for h in student],
        [by_detached_norm(h) for h in teacher],
        edge_index,
        measure=measure,
    )
    same(ours, released, x_s)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_vqgraph_is_the_released_value_but_for_the_teachers_cosines(temperature: float) -> None:
    h_s, h_t, codebook = double(30, 6).requires_grad_(), double(30, 6), double(11, 6)
    assignments = [(-torch.cdist(h, codebook) / temperature) for h in (h_s, h_t)]
    student, teacher = assignments[0].log_softmax(-1), assignments[1].softmax(-1)
    intended = F.kl_div(student, teacher, reduction="batchmean") * temperature**2
    ours = G.vqgraph_loss(h_s, h_t, codebook, temperature=temperature)
    same(ours, intended, h_s)
    u, v, c = (F.normalize(x) for x in (h_s, h_t, codebook))
    intended = F.kl_div(
        (u @ c.T / temperature).log_softmax(-1),
        (v @ c.T / temperature).softmax(-1),
        reduction="batchmean",
    )
    ours = G.vqgraph_loss(h_s, h_t, codebook, temperature=temperature, similarity="cosine")
    same(ours, intended * temperature**2, h_s)


def test_vqgraphs_released_criterion_is_not_zero_for_a_perfect_student() -> None:
    h, codebook = double(30, 6), double(11, 6)
    logits = -torch.cdist(h, codebook) / 4
    released = F.kl_div(
        logits.log_softmax(-1), logits.softmax(-1), reduction="batchmean", log_target=True
    )
    assert released > 1
    assert G.vqgraph_loss(h, h, codebook) == 0


def released_llp(z_s: Tensor, z_t: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    distribution = F.kl_div(z_s.log_softmax(-1), z_t.softmax(-1), reduction="sum") / z_s.size(0)
    pairs = torch.tensor(list(itertools.combinations(range(z_s.size(1)), 2))).T
    order = torch.zeros(z_t.size(0), pairs.size(1), dtype=z_t.dtype)
    order[z_t[:, pairs[0]] > z_t[:, pairs[1]] + margin] = 1
    order[z_t[:, pairs[0]] < z_t[:, pairs[1]] - margin] = -1
    ranking = nn.MarginRankingLoss(margin=margin)
    return distribution, ranking(z_s[:, pairs[0]], z_s[:, pairs[1]], order)


@pytest.mark.parametrize("margin", [0.05, 0.3])
def test_llp_is_the_released_value(margin: float) -> None:
    z_s, z_t = double(40, 7).sigmoid().requires_grad_(), double(40, 7).sigmoid()
    distribution, rank = released_llp(z_s, z_t, margin)
    same(G.llp_distribution_loss(z_s, z_t), distribution, z_s)
    same(G.llp_rank_loss(z_s, z_t, margin=margin), rank, z_s)


def test_llp_with_decoders_is_the_released_value() -> None:
    class Predictor(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(width, 8).double(), nn.Linear(8, 1).double()

        def forward(self, x_i: Tensor, x_j: Tensor) -> Tensor:
            return self.last(self.first(x_i * x_j).relu()).sigmoid()

    h_s, h_t = double(30, 4).requires_grad_(), double(30, 6)
    anchors, context = torch.randint(0, 30, (12,)), torch.randint(0, 30, (12, 5))
    decoders = Predictor(4), Predictor(6)
    z_s, z_t = (
        decoder(h[anchors].unsqueeze(1).repeat(1, 5, 1), h[context]).squeeze(-1)
        for decoder, h in zip(decoders, (h_s, h_t), strict=True)
    )
    distribution, rank = released_llp(z_s, z_t.detach(), 0.1)
    options = {"distribution_weight": 0.3, "rank_weight": 2.0}
    ours = G.llp_loss(h_s, h_t, context, anchors, decoder=decoders, **options)
    same(ours, 0.3 * distribution + 2 * rank, h_s)
    ours.backward()
    assert all(p.grad is not None for p in decoders[0].parameters())
    assert all(p.grad is None for p in decoders[1].parameters())


def test_mugsis_terms_are_the_released_ones() -> None:
    """Graphs have three clusters or more, because the released code leaves the others out."""
    h_s, h_t = double(40, 5).requires_grad_(), double(40, 5)
    batch = torch.arange(40) // 10
    clusters = torch.arange(40) % (3 + batch)
    paths = torch.stack([10 * g + torch.randint(0, 10, (20, 6)) for g in range(4)])

    def alignment(s: Tensor, t: Tensor) -> Tensor:
        return F.mse_loss(s / s.norm(dim=-1, keepdim=True), t / t.norm(dim=-1, keepdim=True))

    def conditional(nodes: Tensor, h: Tensor) -> Tensor:
        first, others = h[nodes[:, 0]].unsqueeze(1), h[nodes[:, 1:]].transpose(2, 1)
        return torch.bmm(first, others).squeeze(1).softmax(-1)

    pooled = [torch.stack([h[batch == g].mean(0) for g in range(4)]) for h in (h_s, h_t)]
    graph = alignment(*pooled)
    cluster, path = h_s.new_zeros(()), h_s.new_zeros(())
    for g in range(4):
        sims = []
        for h in (h_s, h_t):
            names = range(3 + g)
            own = torch.stack([h[(batch == g) & (clusters == c)].mean(0) for c in names])
            own = own / own.norm(dim=1)[:, None]
            sims.append(own @ own.T)
        cluster = cluster + (sims[0] - sims[1]).norm(p="fro") ** 2 / 2 / 4
        student, teacher = (conditional(paths[g], h) for h in (h_s, h_t))
        path = path + F.kl_div(student.log(), teacher, reduction="batchmean") / 4
    everything = (h_s, h_t, batch, clusters, paths.view(80, 6))
    same(G.mugsi_loss(*everything, cluster_weight=0.0, path_weight=0.0), graph, h_s)
    same(G.mugsi_loss(*everything, graph_weight=0.0, path_weight=0.0), cluster, h_s)
    same(G.mugsi_loss(*everything, graph_weight=0.0, cluster_weight=0.0), path, h_s)
    weighted = {"graph_weight": 0.5, "cluster_weight": 2.0, "path_weight": 3.0}
    same(G.mugsi_loss(*everything, **weighted), 0.5 * graph + 2 * cluster + 3 * path, h_s)


def test_mugsi_keeps_its_digits_on_large_graphs_far_from_the_origin() -> None:
    """Sums over many rows are nearly the same on both sides, where float32 loses three digits."""
    h_s = 1 + torch.rand(20_000, 8)
    h_t = h_s + 0.1 * torch.randn_like(h_s)
    value, whole = (
        G.mugsi_loss(s, t, cluster_weight=0, path_weight=0)
        for s, t in ((h_s, h_t), (h_s.double(), h_t.double()))
    )
    torch.testing.assert_close(value.double(), whole, rtol=1e-6, atol=0)
