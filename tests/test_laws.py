"""Laws, tried by Hypothesis on many sizes and seeds."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import graphkd.functional as G
from tests.contract import Loss, every

settings.register_profile("graphkd", max_examples=15, deadline=None, derandomize=True)
settings.load_profile("graphkd")

sizes = st.integers(min_value=2, max_value=20)
seeds = st.integers(min_value=0, max_value=2**20)


def quick(loss: Loss, options: dict) -> bool:
    """All but the interpreter of Triton, which is slow: other tests hold it to the reference."""
    return options.get("backend") != "triton"


def rotation(dim: int) -> Tensor:
    return torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64)).Q


@every(variants=True, backends=True, where=lambda loss: loss.zero_at_self, keep=quick)
@given(n=sizes, seed=seeds)
def test_self_is_zero_and_nothing_is_negative(loss: Loss, options: dict, n: int, seed: int) -> None:
    h_s, h_t, edge_index = loss.inputs(n=n, seed=seed, dtype=torch.float32)
    own = loss.rows(h_s, h_s.detach(), edge_index, **options)
    assert (own >= 0).all()
    assert (own <= loss.self_error).all()
    assert (loss.rows(h_s, h_t, edge_index, **options) >= 0).all()


@every(
    variants=True,
    backends=True,
    where=lambda loss: loss.order_free,
    keep=lambda loss, options: quick(loss, options) and not loss.draws & options.keys(),
)
@given(n=sizes, seed=seeds)
def test_relabelling_nodes_changes_nothing(loss: Loss, options: dict, n: int, seed: int) -> None:
    h_s, h_t, edge_index = loss.inputs(n=n, seed=seed)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    place = order.argsort()
    shuffled = place[edge_index][:, torch.randperm(edge_index.size(1))]
    torch.testing.assert_close(
        loss.call(h_s[order], h_t[order], shuffled, **options),
        loss.call(h_s, h_t, edge_index, **options),
    )


@every(variants=True, where=lambda loss: loss.edges and loss.edges_only)
@given(n=sizes, seed=seeds)
def test_an_isolated_node_changes_nothing(loss: Loss, options: dict, n: int, seed: int) -> None:
    h_s, h_t, edge_index = loss.inputs(n=n, seed=seed)
    more_s, more_t = (torch.cat([h, torch.randn_like(h[:1])]) for h in (h_s, h_t))
    torch.testing.assert_close(
        loss.call(more_s, more_t, edge_index, **options),
        loss.call(h_s, h_t, edge_index, **options),
    )


@every(
    variants=True,
    backends=True,
    where=lambda loss: loss.scale_free or any("kernel" in o for o in loss.variants),
    keep=quick,
)
@given(n=sizes, seed=seeds)
def test_normalised_losses_ignore_the_scale_of_rows(
    loss: Loss, options: dict, n: int, seed: int
) -> None:
    if options.get("kernel", "cosine") not in ("cosine", "poly"):
        return
    h_s, h_t, edge_index = loss.inputs(n=n, seed=seed)
    scale = torch.rand(n, 1, dtype=torch.float64) * 100 + 0.01
    torch.testing.assert_close(
        loss.call(h_s * scale, h_t, edge_index, **options),
        loss.call(h_s, h_t, edge_index, **options),
    )


@every(
    variants=True,
    backends=True,
    where=lambda loss: any("kernel" in o for o in loss.variants),
    keep=quick,
)
@given(n=sizes, seed=seeds)
def test_kernels_ignore_rotations_and_distances_shifts(
    loss: Loss, options: dict, n: int, seed: int
) -> None:
    h_s, h_t, edge_index = loss.inputs(n=n, seed=seed)
    moved = h_s @ rotation(h_s.size(1))
    if options["kernel"] in ("l2", "rbf"):
        moved = moved + torch.randn(1, h_s.size(1), dtype=torch.float64)
    torch.testing.assert_close(
        loss.call(moved, h_t, edge_index, **options), loss.call(h_s, h_t, edge_index, **options)
    )


@given(n=sizes, seed=seeds)
def test_gcrd_ignores_a_joint_rotation(n: int, seed: int) -> None:
    h_s, h_t = torch.randn(2, n, 5, dtype=torch.float64).unbind()
    turn = rotation(5)
    torch.testing.assert_close(G.gcrd_loss(h_s @ turn, h_t @ turn), G.gcrd_loss(h_s, h_t))


@given(n=st.integers(1, 40), temperature=st.floats(1e-3, 10))
def test_gcrd_of_uniform_similarities_is_log_n(n: int, temperature: float) -> None:
    ones = torch.ones(n, 3, dtype=torch.float64)
    for backend in ("reference", "chunked"):
        value = G.gcrd_loss(ones, ones, temperature=temperature, backend=backend)
        torch.testing.assert_close(value, torch.tensor(float(n), dtype=torch.float64).log())


@given(n=st.integers(2, 10), m=st.integers(2, 10), seed=seeds)
def test_lsp_of_a_batch_is_the_weighted_sum_of_its_graphs(n: int, m: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    h_s, h_t = torch.randn(2, n + m, 4, dtype=torch.float64, generator=generator).unbind()
    first = torch.randint(0, n, (2, 3 * n), generator=generator)
    second = torch.randint(0, m, (2, 2 * m), generator=generator)
    total = G.lsp_loss(h_s, h_t, torch.cat([first, second + n], 1), reduction="sum")
    parts = G.lsp_loss(h_s[:n], h_t[:n], first, reduction="sum")
    parts = parts + G.lsp_loss(h_s[n:], h_t[n:], second, reduction="sum")
    torch.testing.assert_close(total, parts)


@given(n=st.integers(3, 12), size=st.integers(2, 8), seed=seeds)
def test_sampled_global_lsp_is_unbiased(n: int, size: int, seed: int) -> None:
    """The mean over every sample of a small sample space, not a Monte Carlo estimate."""
    if size > n:
        return
    from itertools import combinations

    from graphkd.functional.pairs.global_lsp import _unbiased

    h_s, h_t = (
        torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed + d))
        for d in (3, 4)
    )
    estimates = []
    for chosen in combinations(range(n), size):
        s, t = h_s[list(chosen)], h_t[list(chosen)]
        gap = s @ s.T - t @ t.T
        mean, diagonal = gap.square().mean(), gap.diagonal().square().sum()
        estimates.append(_unbiased(mean, diagonal, size, n))
    truth = G.global_lsp_loss(h_s, h_t, kernel="linear")
    torch.testing.assert_close(torch.stack(estimates).mean(), truth)


def test_max_samples_through_the_public_call() -> None:
    h_s, h_t = torch.randn(12, 3, dtype=torch.float64), torch.randn(12, 4, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    for kernel in ("linear", "cosine", "rbf"):
        truth = G.global_lsp_loss(h_s, h_t, kernel=kernel)
        draws = torch.stack(
            [
                G.global_lsp_loss(h_s, h_t, kernel=kernel, max_samples=5, generator=generator)
                for _ in range(4000)
            ]
        )
        error = draws.std() / len(draws) ** 0.5
        assert abs(draws.mean() - truth) < 4 * error
        assert torch.equal(G.global_lsp_loss(h_s, h_t, kernel=kernel, max_samples=12), truth)


def test_sampling_follows_its_generator_and_torchs_seed() -> None:
    h_s, h_t = torch.randn(2, 50, 4).unbind()
    for function in (G.gcrd_loss, G.global_lsp_loss):
        pairs = []
        for seed in (3, 3, 4):
            generator = torch.Generator().manual_seed(seed)
            pairs.append(function(h_s, h_t, max_samples=10, generator=generator))
        assert pairs[0] == pairs[1] != pairs[2]
        torch.manual_seed(5)
        first = function(h_s, h_t, max_samples=10)
        torch.manual_seed(5)
        assert function(h_s, h_t, max_samples=10) == first
