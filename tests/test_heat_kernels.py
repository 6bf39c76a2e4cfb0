"""GKD and NOSMOG's similarity against their released code, retyped."""

import pytest
import torch
from torch import Tensor

import graphkd
import graphkd.functional as G
from tests.test_neighbours import double, same, undirected


def released_gkd(m_s: Tensor, m_t: Tensor, edge_index: Tensor, delta: float) -> Tensor:
    n = m_s.size(0)
    a = torch.zeros(n, n, dtype=torch.float64).index_put(
        tuple(edge_index), torch.ones(edge_index.size(1), dtype=torch.float64), accumulate=True
    )
    a.fill_diagonal_(1.0)
    return ((m_s - m_t) ** 2 * (a + (1 - a) * delta)).sum()


@pytest.mark.parametrize("delta", [0.0, 0.1, 1.0, 2.0])
@pytest.mark.parametrize("options", [{}, {"chunk_size": 7}, {"backend": "reference"}], ids=str)
def test_gkd_is_the_released_value_over_n_squared(delta: float, options: dict) -> None:
    edge_index = undirected(30, 60)
    h_s, h_t = double(30, 4).requires_grad_(), double(30, 6)
    matrices = [(h @ h.T).tanh() for h in (h_s, h_t)]
    released = released_gkd(*matrices, edge_index, delta) / 30**2
    same(G.gkd_loss(h_s, h_t, edge_index, delta=delta, **options), released, h_s)
    matrices = [torch.exp(-0.5 * torch.cdist(h, h) ** 2) for h in (h_s, h_t)]
    wanted = released_gkd(*matrices, edge_index, delta) / 30**2
    same(G.gkd_loss(h_s, h_t, edge_index, delta=delta, kernel="rbf", **options), wanted, h_s)


@pytest.mark.parametrize("options", [{}, {"chunk_size": 7}, {"backend": "reference"}], ids=str)
def test_random_features_are_the_released_kernel_but_for_its_random_sign(options: dict) -> None:
    edge_index = undirected(30, 60)
    h_s, h_t = double(30, 5).requires_grad_(), double(30, 5)
    weight = torch.randn(5, 10, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    features = [(h @ weight).tanh() for h in (h_s, h_t)]
    released = released_gkd(*(x @ x.T for x in features), edge_index, 0.1)
    ours = G.gkd_loss(
        h_s,
        h_t,
        edge_index,
        kernel="random",
        generator=torch.Generator().manual_seed(2),
        **options,
    )
    same(ours, released / (30 * 10) ** 2, h_s)
    few = graphkd.GKDLoss(kernel="random", num_features=3)
    few(h_s, h_t, edge_index).backward()
    assert h_s.grad.isfinite().all()
    with pytest.raises(ValueError, match=r"kernel='sigmoid'"):
        few(h_s, torch.randn(30, 6), edge_index)
    with pytest.raises(TypeError, match="must be a torch"):
        few(h_s, h_t, edge_index, generator=3)


def test_gkd_without_preference_for_edges_is_global_lsp() -> None:
    h_s, h_t, edge_index = double(20, 4), double(20, 6), undirected(20, 30)
    for gamma in (0.3, "median"):
        torch.testing.assert_close(
            G.gkd_loss(h_s, h_t, edge_index, kernel="rbf", gamma=gamma, delta=1.0),
            G.global_lsp_loss(h_s, h_t, kernel="rbf", gamma=gamma),
        )


@pytest.mark.parametrize("n", [20, 300])
@pytest.mark.parametrize("dims", [(6, 6), (6, 11)])
def test_nosmogs_similarity_is_global_lsp_of_inner_products(n: int, dims: tuple) -> None:
    h_s, h_t = double(n, dims[0]).requires_grad_(), double(n, dims[1])
    released = torch.mean((torch.mm(h_t, h_t.T) - torch.mm(h_s, h_s.T)) ** 2)
    same(G.global_lsp_loss(h_s, h_t, kernel="linear"), released, h_s)
    batch = torch.randperm(n)[:10]
    u, v = h_s[batch], h_t[batch]
    released = torch.mean((torch.mm(v, v.T) - torch.mm(u, u.T)) ** 2)
    same(G.global_lsp_loss(h_s, h_t, kernel="linear", index=batch), released, h_s)


@pytest.mark.parametrize("scale", [1e18, 7e18, 1e19, 1e30])
@pytest.mark.parametrize("options", [{}, {"chunk_size": 7}, {"backend": "reference"}], ids=str)
def test_a_median_bandwidth_of_huge_distances(scale: float, options: dict) -> None:
    """Pairs whose squares overflow count as infinitely far apart."""
    edge_index = undirected(20, 30)
    h, small = torch.randn(20, 4), torch.randn(20, 4)
    for h_s, h_t in ((h * scale, small), (small, h * scale), (h * scale, small * scale)):
        h_s = h_s.requires_grad_()
        given = {"kernel": "rbf", "gamma": "median", **options}
        for value in (
            G.global_lsp_loss(h_s, h_t, **given),
            G.gkd_loss(h_s, h_t, edge_index, **given),
        ):
            assert value.isfinite()
            assert torch.autograd.grad(value, h_s)[0].isfinite().all()
