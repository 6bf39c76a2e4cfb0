"""TINED's and VQGraph's own cases: options and refusals; and MuGSI's gaps in tiles."""

import pytest
import torch
from torch import Tensor

import graphkd
import graphkd.functional as G
from graphkd.ops import reference
from graphkd.ops.chunked import code_divergence, grouped_gap

RING = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])


def both_ways(edge_index: Tensor) -> Tensor:
    return torch.cat([edge_index, edge_index.flip(0)], dim=1)


def test_dirichlet_energy_has_the_gradient_of_its_trace() -> None:
    h = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    adjacency = torch.zeros(4, 4, dtype=torch.float64)
    adjacency[RING[0], RING[1]] = adjacency[RING[1], RING[0]] = 1
    laplacian = torch.diag(adjacency.sum(1)) - adjacency
    for backend in ("reference", "chunked"):
        energy = G.dirichlet_energy(h, both_ways(RING), backend=backend)
        torch.testing.assert_close(energy, torch.trace(h.T @ laplacian @ h) / 4)
        (gradient,) = torch.autograd.grad(energy, h)
        torch.testing.assert_close(gradient, 2 * laplacian @ h / 4)
    torch.testing.assert_close(G.dirichlet_energy(h, RING), energy / 2)
    torch.testing.assert_close(
        G.dirichlet_energy(h, RING, normalized=True), energy / 2
    )  # one half of a half: each degree is one, and each edge counts half
    weight = torch.tensor([1.0, 2.0, 0.0, 0.5], dtype=torch.float64)
    squares = (h[RING[0]] - h[RING[1]]).square().sum(dim=1)
    weighted = G.dirichlet_energy(h, RING, edge_weight=weight)
    torch.testing.assert_close(weighted, (weight * squares).sum() / 8)
    assert G.dirichlet_energy(torch.ones(5, 2), torch.empty(2, 0, dtype=torch.long)) == 0
    with pytest.raises(TypeError, match="dirichlet_energy: h must be a tensor"):
        G.dirichlet_energy([1.0], RING)


def test_energies_of_smooth_embeddings_far_from_the_origin_keep_their_digits() -> None:
    h = (1000 + 0.01 * torch.randn(300, 8)).requires_grad_()
    edge_index = torch.randint(0, 300, (2, 2000))
    energy, truth = G.dirichlet_energy(h, edge_index), G.dirichlet_energy(h.double(), edge_index)
    assert abs(energy / truth - 1) < 1e-6
    gradients = [torch.autograd.grad(value, h)[0] for value in (energy, truth)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-9)


def test_tined_takes_a_chain_or_pairs() -> None:
    s, t = ([torch.randn(4, 3, dtype=torch.float64) for _ in range(3)] for _ in range(2))
    chain = G.tined_loss(s, t, RING)
    pairs = [[(x[0], x[1]), (x[1], x[2])] for x in (s, t)]
    torch.testing.assert_close(G.tined_loss(*pairs, RING), chain)
    alone = [G.tined_loss(a, b, RING) for a, b in zip(*pairs, strict=True)]
    torch.testing.assert_close(alone[0] + alone[1], chain)
    torch.testing.assert_close(graphkd.TINEDLoss()(tuple(s), tuple(t), RING), chain)


@pytest.mark.parametrize("measure", ["ratio", "root", "log"])
@pytest.mark.parametrize("backend", ["reference", "chunked"])
def test_tined_is_finite_where_energies_vanish(measure: str, backend: str) -> None:
    h = torch.randn(4, 3, requires_grad=True)
    constant, options = torch.ones(4, 2), {"measure": measure, "backend": backend}
    for student in ((h * 0, h), (h, h * 0), (h * 0, h * 0)):
        value = G.tined_loss(student, (constant, constant), RING, **options)
        (gradient,) = torch.autograd.grad(value, h)
        assert value.isfinite()
        assert gradient.isfinite().all()
    assert G.tined_loss((h * 0, h), (constant, h), RING, **options) == 0


def test_tined_refuses_what_does_not_correspond() -> None:
    h, wide = torch.randn(4, 3), torch.randn(5, 3)
    with pytest.raises(ValueError, match="as many operations"):
        G.tined_loss((h, h), (h, h, h), RING)
    with pytest.raises(ValueError, match="as many operations"):
        G.tined_loss([(h, h), (h, h)], (h, h, h), RING)
    with pytest.raises(ValueError, match="before and after"):
        G.tined_loss((h,), (h,), RING)
    with pytest.raises(ValueError, match="before and after"):
        G.tined_loss((), (), RING)
    with pytest.raises(ValueError, match="4 and 5 rows"):
        G.tined_loss((h, wide), (h, wide), RING)
    with pytest.raises(TypeError, match="h_s must be tensors"):
        G.tined_loss(h, (h, h), RING)


def test_vqgraph_refuses_a_codebook_that_does_not_fit() -> None:
    h = torch.randn(5, 4)
    for codebook in (torch.randn(3, 5), torch.randn(0, 4)):
        with pytest.raises(ValueError, match="at least one code, of the teacher's width 4"):
            G.vqgraph_loss(h, h, codebook)
    with pytest.raises(TypeError, match="codebook must be a tensor of codes"):
        G.vqgraph_loss(h, h, None)
    with pytest.raises(ValueError, match="cpu and meta"):
        G.vqgraph_loss(h, h, torch.randn(3, 4, device="meta"))


def test_vqgraphs_codebook_learns_nothing_and_its_head_does() -> None:
    codebook = torch.randn(6, 4, requires_grad=True)
    h_s, h_t, edges = torch.randn(9, 3), torch.randn(9, 4), torch.randint(0, 9, (2, 20))
    for head in ("linear", "mlp", "gcn"):
        loss = graphkd.VQGraphLoss(3, 4, head=head)
        loss(h_s, h_t, codebook, edges).backward()
        assert codebook.grad is None
        assert all(p.grad.isfinite().all() for p in loss.parameters())
        assert any(p.grad.abs().sum() > 0 for p in loss.parameters())
    assert G.vqgraph_loss(h_t, h_t + 1, codebook[:1]) == 0


@pytest.mark.parametrize("similarity", ["l2", "cosine"])
def test_codes_in_blocks_weigh_rows_and_survive_a_row_that_is_a_code(similarity: str) -> None:
    codes = 50 + torch.randn(40, 6, dtype=torch.float64)
    x_s, x_t = 50 + torch.randn(2, 23, 6, dtype=torch.float64)
    x_s[3] = codes[7]
    x_s.requires_grad_()
    weights = torch.rand(23, dtype=torch.float64)
    dense = reference.code_divergence(x_s, x_t, codes, similarity, 2.0)
    wanted = torch.autograd.grad((weights * dense).sum(), x_s)[0]
    for size in (1, 5, 23, 100):
        rows = code_divergence(x_s, x_t, codes, similarity, 2.0, size)
        torch.testing.assert_close(rows, dense)
        torch.testing.assert_close(torch.autograd.grad((weights * rows).sum(), x_s)[0], wanted)
    narrow = x_s.detach().float().requires_grad_()
    rows = code_divergence(narrow, x_t.float(), codes.float(), similarity, 2.0, None)
    torch.testing.assert_close(rows.double(), dense, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("height", [1, 7, 64, 500])
def test_gaps_within_groups_in_tiles(height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphkd.ops._blocks.BLOCK", 300)
    x_s, x_t = torch.randn(2, 150, 4, dtype=torch.float64)
    x_s.requires_grad_()
    group = torch.randint(-1, 6, (150,))
    weights = torch.rand(150, dtype=torch.float64)
    dense = reference.grouped_gap(x_s, x_t, group)
    rows = grouped_gap(x_s, x_t, group, height)
    torch.testing.assert_close(rows, dense)
    assert (rows[group < 0] == 0).all()
    for total in (lambda x: x.sum(), lambda x: (weights * x).sum()):
        gradients = [torch.autograd.grad(total(x), x_s, retain_graph=True) for x in (rows, dense)]
        torch.testing.assert_close(*gradients)
