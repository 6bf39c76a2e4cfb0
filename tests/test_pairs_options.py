"""PKT, RKD and correlation congruence: sampled angles, options and refusals."""

import math
import pickle
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import graphkd
import graphkd.functional as G
from graphkd.functional.pairs import global_lsp, rkd
from graphkd.functional.pairs.rkd import coincidences, unbiased
from graphkd.similarity import SERIES


def double(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("size", [3, 5, 8])
def test_sampled_angles_are_unbiased(size: int) -> None:
    """The mean over every sample, with rows that are equal on one side only."""
    h_s, h_t = double(8, 3), double(8, 4)
    h_s[1], h_t[3] = h_s[0], h_t[2]
    estimates = []
    for chosen in combinations(range(8), size):
        s, t = h_s[list(chosen)], h_t[list(chosen)]
        estimates.append(unbiased(G.rkd_angle_loss(s, t), coincidences(s, t), size, 8))
    torch.testing.assert_close(torch.stack(estimates).mean(), G.rkd_angle_loss(h_s, h_t))


def test_sampled_angles_through_the_public_call() -> None:
    h_s, h_t = double(60, 4), double(60, 6)
    truth = G.rkd_angle_loss(h_s, h_t)
    generator = torch.Generator().manual_seed(1)
    errors = {}
    for size in (10, 40):
        draws = torch.stack(
            [G.rkd_angle_loss(h_s, h_t, max_samples=size, generator=generator) for _ in range(300)]
        )
        errors[size] = draws.std()
        assert abs(draws.mean() - truth) < 4 * draws.std() / 300**0.5
    assert errors[40] < errors[10] / 2
    assert torch.equal(G.rkd_angle_loss(h_s, h_t, max_samples=None), truth)
    assert torch.equal(G.rkd_angle_loss(h_s, h_t, max_samples=60), truth)


@pytest.mark.parametrize("loss", [G.rkd_distance_loss, G.rkd_angle_loss])
def test_each_term_of_rkd_takes_weights(loss) -> None:
    h_s, h_t, weight, index = double(7, 3), double(7, 4), torch.rand(7), torch.tensor([5, 0, 3])
    rows = loss(h_s, h_t, index=index, reduction="none")
    value = loss(h_s, h_t, index=index, weight=weight)
    torch.testing.assert_close(value, (weight[index] * rows).sum() / weight[index].sum().double())


@pytest.mark.parametrize("loss", [G.global_lsp_loss, G.nst_loss], ids=lambda f: f.__name__)
def test_weighted_moments_are_the_weighted_pairs(loss) -> None:
    """More rows than 256, of which a mean without weights has no values per row."""
    inputs = double(300, 3).requires_grad_(), torch.rand(300, dtype=torch.float64).requires_grad_()
    h_t = double(300, 4)
    for reduction in ("mean", "sum"):
        value, expected = (
            loss(inputs[0], h_t, weight=inputs[1], reduction=reduction, backend=backend)
            for backend in ("chunked", "reference")
        )
        torch.testing.assert_close(value, expected)
        found, right = (torch.autograd.grad(x, inputs) for x in (value, expected))
        torch.testing.assert_close(found, right)


@pytest.mark.parametrize(
    ("room", "options"),
    [
        (global_lsp, {"kernel": "linear"}),
        (global_lsp, {"kernel": "rbf"}),
        (global_lsp, {"kernel": lambda x, y: (x * y).sum(-1)}),
        (rkd, {}),
    ],
)
def test_sampled_weighted_losses_are_unbiased(room, options: dict, monkeypatch) -> None:
    """The mean over every sample; the weights of the rows that were not drawn count too."""
    loss = room.global_lsp_loss if room is global_lsp else room.rkd_angle_loss
    h_s, h_t, weight = double(6, 3), double(6, 4), torch.rand(6, dtype=torch.float64)
    h_s[1], h_t[3], weight[2] = h_s[0], h_t[2], 0
    inputs = h_s.requires_grad_(), weight.requires_grad_()
    for reduction in ("mean", "sum"):
        expected = loss(h_s, h_t, **options, weight=weight, reduction=reduction)
        truth = expected, *torch.autograd.grad(expected, inputs)
        found = []
        for chosen in combinations(range(6), 4):
            sample = torch.tensor(chosen)
            monkeypatch.setattr(room, "sample_rows", lambda *_, sample=sample: sample)
            given = {**options, "weight": weight, "reduction": reduction}
            value = loss(h_s, h_t, **given, max_samples=4)
            found.append((value, *torch.autograd.grad(value, inputs)))
        monkeypatch.undo()
        for sampled, whole in zip(zip(*found, strict=True), truth, strict=True):
            torch.testing.assert_close(torch.stack(sampled).mean(0), whole)


def test_the_standard_error_of_512_samples_is_a_few_percent() -> None:
    labels = torch.arange(3000) % 7
    h_s, h_t = (2 * torch.randn(7, d)[labels] + torch.randn(3000, d) for d in (8, 16))
    draws = torch.stack([G.rkd_angle_loss(h_s, h_t) for _ in range(8)])
    assert draws.std() < 0.08 * draws.mean()


def test_samples_follow_their_generator() -> None:
    h_s, h_t = torch.randn(2, 50, 4).unbind()
    loss = graphkd.RKDLoss(max_samples=10)
    seeds = [torch.Generator().manual_seed(seed) for seed in (3, 3, 4)]
    first, again, other = (loss(h_s, h_t, generator=g) for g in seeds)
    assert first == again != other


def test_sampling_compiles() -> None:
    torch._dynamo.reset()
    loss = graphkd.RKDLoss(max_samples=8)
    compiled = torch.compile(loss, fullgraph=True, dynamic=True, backend="aot_eager")
    for n in (24, 31):
        h_s, h_t = torch.randn(n, 5, requires_grad=True), torch.randn(n, 7)
        compiled(h_s, h_t).backward()
        assert h_s.grad.isfinite().all()


def test_refusals() -> None:
    h_s, h_t = torch.randn(2, 20, 4).unbind()
    for function in (G.rkd_angle_loss, G.rkd_loss):
        with pytest.raises(ValueError, match="angles of max_samples=8 rows of 20"):
            function(h_s, h_t, max_samples=8, reduction="none")
        with pytest.raises(ValueError, match="max_samples must be at least 3; got 2"):
            function(h_s, h_t, max_samples=2)
    graphkd.RKDLoss(1.0, 0.0, max_samples=8, reduction="none")(h_s, h_t)
    with pytest.raises(TypeError, match="order must be an integer"):
        graphkd.CorrelationCongruenceLoss(order=2.0)
    with pytest.raises(TypeError, match="distance_weight must be a number"):
        graphkd.RKDLoss("25")
    for loss in (graphkd.PKTLoss, graphkd.RKDLoss, graphkd.CorrelationCongruenceLoss):
        with pytest.raises(ValueError, match="has no backend 'triton'"):
            loss(backend="triton")


def test_rkd_terms_alone_have_rows_sums_and_empty_values() -> None:
    h_s, h_t = double(9, 4).requires_grad_(), double(9, 6)
    for function in (G.rkd_distance_loss, G.rkd_angle_loss):
        rows = function(h_s, h_t, reduction="none", index=torch.tensor([4, 0, 7]))
        torch.testing.assert_close(
            rows.mean(), function(h_s[[4, 0, 7]], h_t[[4, 0, 7]], reduction="mean")
        )
        torch.testing.assert_close(
            function(h_s, h_t, reduction="sum"), 9 * function(h_s, h_t, chunk_size=2)
        )
        empty = function(h_s[:0], h_t[:0])
        assert empty == 0
        empty.backward()


def test_congruence_approaches_the_gaussian_kernel() -> None:
    h_s, h_t = double(12, 4), double(12, 6)
    unit = [F.normalize(h) for h in (h_s, h_t)]
    truth = G.global_lsp_loss(*unit, kernel="rbf", gamma=0.7)
    value = G.correlation_congruence_loss(h_s, h_t, gamma=0.7, order=30)
    torch.testing.assert_close(value, truth)
    first = G.correlation_congruence_loss(h_s, h_t, gamma=0.5, order=1)
    torch.testing.assert_close(first, math.exp(-2) * G.global_lsp_loss(h_s, h_t))


def test_a_series_kernel_is_pickled_by_its_name() -> None:
    assert pickle.loads(pickle.dumps(SERIES)) is SERIES
