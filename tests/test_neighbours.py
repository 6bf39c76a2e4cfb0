"""FF-G2M and KRD against their released code, retyped."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import graphkd
import graphkd.functional as G
from graphkd.ops.chunked import neighbours


def double(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def same(ours: Tensor, released: Tensor, h: Tensor) -> None:
    """Both give the same value and the same gradient."""
    torch.testing.assert_close(ours, released, rtol=1e-9, atol=1e-12)
    gradients = (torch.autograd.grad(value, h, retain_graph=True) for value in (ours, released))
    torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-12)


def undirected(n: int, count: int) -> Tensor:
    """Both directions of pairs of different nodes, without duplicates."""
    pairs = torch.randint(0, n, (2, count))
    pairs = pairs[:, pairs[0] != pairs[1]]
    return torch.cat([pairs, pairs.flip(0)], dim=1).unique(dim=1)


def batchmean(student: Tensor, teacher: Tensor) -> Tensor:
    return F.kl_div(student, teacher, log_target=True, reduction="batchmean")


def released_low(z_s: Tensor, z_t: Tensor, edge_index: Tensor) -> Tensor:
    loops = torch.arange(z_s.size(0)).expand(2, -1)
    first, second = torch.cat([edge_index, loops], dim=1)
    return batchmean(z_s.log_softmax(1)[first], z_t.log_softmax(1)[second])


def released_high(z_s: Tensor, z_t: Tensor, edge_index: Tensor, tau: float) -> Tensor:
    first, second = edge_index
    return batchmean(*(((z[first] - z[second]).abs() / tau).log_softmax(-1) for z in (z_s, z_t)))


@pytest.mark.parametrize("tau", [1.0, 1.5])
def test_ff_g2m_is_the_released_value(tau: float) -> None:
    edge_index = undirected(30, 80)
    z_s, z_t = double(30, 6).requires_grad_(), 3 * double(30, 6)
    low, high = released_low(z_s, z_t, edge_index), released_high(z_s, z_t, edge_index, tau)
    same(G.low_frequency_loss(z_s, z_t, edge_index), low, z_s)
    same(G.high_frequency_loss(z_s, z_t, edge_index, temperature=tau), high, z_s)
    same(G.ff_g2m_loss(z_s, z_t, edge_index, high_temperature=tau), low + high, z_s)
    weighted = G.ff_g2m_loss(
        z_s, z_t, edge_index, high_temperature=tau, low_weight=0.2, high_weight=3.0
    )
    same(weighted, 0.2 * low + 3 * high, z_s)
    for part, weight in ((low, "high_weight"), (high, "low_weight")):
        same(G.ff_g2m_loss(z_s, z_t, edge_index, high_temperature=tau, **{weight: 0.0}), part, z_s)


def test_self_loops_are_neither_added_twice_nor_counted() -> None:
    edge_index = undirected(12, 20)
    z_s, z_t = double(12, 4), double(12, 4)
    looped = torch.cat([edge_index, torch.tensor([[3, 3, 5], [3, 3, 5]])], dim=1)
    reliability = torch.rand(12)
    for call in (
        G.ff_g2m_loss,
        G.low_frequency_loss,
        G.high_frequency_loss,
        G.gkd_loss,
        lambda *args: G.krd_loss(*args, reliability),
    ):
        torch.testing.assert_close(call(z_s, z_t, looped), call(z_s, z_t, edge_index))


@pytest.mark.parametrize("name", ["low", "high", "krd"])
def test_an_index_takes_the_mean_over_the_pairs_of_its_centres(name: str) -> None:
    edge_index = torch.randint(0, 12, (2, 40))
    edge_index = edge_index[:, edge_index[0] != edge_index[1]]
    z_s, z_t, centres = double(12, 4), double(12, 4), torch.tensor([7, 2, 9])
    into = edge_index[:, torch.isin(edge_index[1], centres)]
    pairs = into if name == "high" else torch.cat([into, centres.expand(2, -1)], dim=1)
    call = {
        "low": G.low_frequency_loss,
        "high": G.high_frequency_loss,
        "krd": lambda *args, **options: G.krd_loss(*args, torch.ones(12), **options),
    }[name]
    j, i = pairs
    if name == "high":
        wanted = released_high(z_s, z_t, into, 1.5)
    else:
        wanted = batchmean(z_s.log_softmax(1)[i], z_t.log_softmax(1)[j])
    torch.testing.assert_close(call(z_s, z_t, edge_index, index=centres), wanted)
    rows = call(z_s, z_t, edge_index, index=centres, reduction="none")
    torch.testing.assert_close(rows.mean(), wanted)


@pytest.mark.parametrize("name", ["low", "high"])
def test_the_terms_alone_take_weights(name: str) -> None:
    edge_index, weight = undirected(12, 20), torch.rand(12, dtype=torch.float64)
    z_s, z_t = double(12, 4).requires_grad_(), double(12, 4)
    alone = getattr(G, f"{name}_frequency_loss")(z_s, z_t, edge_index, weight=weight)
    without = {"low": "high_weight", "high": "low_weight"}[name]
    same(G.ff_g2m_loss(z_s, z_t, edge_index, weight=weight, **{without: 0.0}), alone, z_s)


def test_the_low_frequencies_lead_to_the_mean_prediction_around_a_node() -> None:
    edge_index = undirected(10, 20)
    z_t = double(10, 4)
    loops = torch.arange(10).expand(2, -1)
    j, i = torch.cat([edge_index, loops], dim=1)
    mean = double(10, 4).zero_().index_add(0, i, z_t.softmax(1)[j])
    best = (mean / mean.sum(1, keepdim=True)).log().requires_grad_()
    value = G.low_frequency_loss(best, z_t, edge_index)
    assert value > 0
    (gradient,) = torch.autograd.grad(value, best)
    assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize("scale", [30.0, 1e3, 1e5])
def test_certain_teachers_are_finite(scale: float) -> None:
    """Probabilities underflow on either side."""
    edge_index = undirected(10, 20)
    z_t = scale * torch.eye(4)[torch.arange(10) % 4]
    z_s = (scale * torch.randn(10, 4)).requires_grad_()
    for value in (
        G.ff_g2m_loss(z_s, z_t, edge_index),
        G.krd_loss(z_s, z_t, edge_index, torch.rand(10)),
    ):
        assert value.isfinite()
        assert torch.autograd.grad(value, z_s)[0].isfinite().all()


def test_krd_on_drawn_edges_is_the_released_value() -> None:
    n, tau = 30, 0.8
    edge_index = undirected(n, 80)
    z_s, z_t, reliability = double(n, 5).requires_grad_(), 2 * double(n, 5), torch.rand(n)
    drawn = edge_index[:, torch.rand(edge_index.size(1)) < reliability[edge_index[0]]]
    first = torch.cat([drawn[1], torch.arange(n)])
    second = torch.cat([drawn[0], torch.arange(n)])
    released = batchmean((z_s / tau).log_softmax(1)[first], (z_t / tau).log_softmax(1)[second])
    same(G.krd_loss(z_s, z_t, drawn, torch.ones(n), temperature=tau), released, z_s)


def test_krd_is_what_drawing_estimates() -> None:
    n, alpha = 200, 0.7
    edge_index = undirected(n, 800)
    z_s, z_t, reliability = double(n, 5), 2 * double(n, 5), torch.rand(n)
    exact = G.krd_loss(z_s, z_t, edge_index, reliability, alpha=alpha)
    chance = (1 - (1 - reliability) ** alpha)[edge_index[0]]
    drawn = torch.stack(
        [
            G.krd_loss(z_s, z_t, edge_index[:, torch.rand_like(chance) < chance], torch.ones(n))
            for _ in range(100)
        ]
    )
    error = drawn.std() / 10
    assert error < 0.01 * exact
    assert (drawn.mean() - exact).abs() < 4 * error


def test_unreliable_neighbours_leave_soft_targets() -> None:
    z_s, z_t, edge_index = double(20, 5), double(20, 5), undirected(20, 40)
    alone = G.krd_loss(z_s, z_t, edge_index, torch.zeros(20))
    torch.testing.assert_close(alone, G.kd_loss(z_s, z_t, temperature=1.0))
    every = G.krd_loss(z_s, z_t, edge_index, torch.ones(20))
    torch.testing.assert_close(every, G.low_frequency_loss(z_s, z_t, edge_index))


def test_krd_refuses_what_is_no_reliability() -> None:
    z, edge_index = torch.randn(6, 3), torch.zeros(2, 1, dtype=torch.long)
    for wrong, error, words in (
        (torch.full((6,), 1.5), ValueError, "between 0"),
        (torch.full((6,), -0.1), ValueError, "between 0"),
        (torch.ones(5), ValueError, "one entry per row"),
        (torch.ones(6, dtype=torch.long), TypeError, "measure_reliability"),
        (None, TypeError, "measure_reliability"),
    ):
        with pytest.raises(error, match=words):
            G.krd_loss(z, z, edge_index, wrong)
    with pytest.raises(ValueError, match="at least two classes"):
        G.krd_loss(z[:, :1], z[:, :1], edge_index, torch.ones(6))
    assert G.krd_loss(z, z, edge_index, torch.full((6,), torch.nan)).isnan()


def test_reliability_is_the_released_one_of_one_pass() -> None:
    x, weight = double(40, 6), double(6, 4)

    def entropy(logits: Tensor) -> Tensor:
        p = logits.softmax(-1)
        return -(p * p.log()).sum(1)

    noise = torch.randn(40, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    change = (entropy((x + noise) @ weight) - entropy(x @ weight)).abs()
    ours = G.measure_reliability(
        lambda h, w: h @ w, x, weight, passes=1, generator=torch.Generator().manual_seed(3)
    )
    torch.testing.assert_close(ours, (1 - change / change.max()).float())
    again = (
        G.measure_reliability(lambda h: h @ weight, x, generator=torch.Generator().manual_seed(1))
        for _ in range(2)
    )
    assert torch.equal(*again)


def test_reliability_of_edge_cases() -> None:
    x = torch.randn(5, 3, requires_grad=True)
    assert (G.measure_reliability(lambda h: torch.ones(5, 2), x) == 1).all()
    assert not G.measure_reliability(torch.nn.Dropout().eval(), x).requires_grad
    assert G.measure_reliability(lambda h: h, x[:0]).shape == (0,)
    assert G.measure_reliability(lambda h: h * torch.nan, x).isnan().all()
    for options in ({"noise": 0.0}, {"passes": 0}):
        with pytest.raises(ValueError, match="got"):
            G.measure_reliability(lambda h: h, x, **options)
    with pytest.raises(ValueError, match="one row of logits per row of x"):
        G.measure_reliability(lambda h: h[:4], x)
    with pytest.raises(ValueError, match=r"Dropout in training mode. Call graphkd.freeze\(teacher"):
        G.measure_reliability(torch.nn.Dropout(), x)
    with pytest.raises(TypeError, match="floating-point"):
        G.measure_reliability(lambda h: h, [1.0])


@pytest.mark.parametrize("power", [1.0, 2.0, 4.0])
def test_the_power_is_found_again(power: float) -> None:
    reliability = torch.linspace(0, 1, 200_000)
    agree = torch.rand(200_000) < 1 - (1 - reliability) ** power
    z_t = torch.tensor([[1.0, 0.0]]).expand(200_000, 2)
    z_s = torch.where(agree[:, None], z_t, -z_t)
    found = G.fit_reliability_power(z_s, z_t, reliability, momentum=0.0)
    assert found == pytest.approx(power, rel=0.1)
    half = G.fit_reliability_power(z_s, z_t, reliability, alpha=2.0, momentum=0.5)
    assert half == pytest.approx((2 + found) / 2)


def test_the_power_stays_where_nothing_can_be_fitted() -> None:
    z, reliability = torch.randn(10, 3), torch.rand(10)
    assert G.fit_reliability_power(z, z, reliability, alpha=1.7) == 1.7
    assert G.fit_reliability_power(z[:0], z[:0], reliability[:0], alpha=1.7) == 1.7
    for wrong in ({"momentum": 1.5}, {"bins": 0}, {"alpha": 0.0}):
        with pytest.raises(ValueError, match="got"):
            G.fit_reliability_power(z, z, reliability, **wrong)


def test_the_module_keeps_its_power() -> None:
    loss, other = graphkd.KRDLoss(momentum=0.5), graphkd.KRDLoss()
    z_t, reliability = torch.randn(300, 3), torch.rand(300)
    z_s = torch.where((torch.rand(300) < reliability**2)[:, None], z_t, -z_t)
    edge_index = undirected(300, 500)
    before = loss(z_s, z_t, edge_index, reliability)
    loss.update_alpha(z_s, z_t, reliability)
    assert loss.alpha != 1
    after = loss(z_s, z_t, edge_index, reliability)
    assert after != before
    wanted = G.krd_loss(z_s, z_t, edge_index, reliability, alpha=float(loss.alpha))
    torch.testing.assert_close(after, wanted)
    other.load_state_dict(loss.state_dict())
    assert torch.equal(other(z_s, z_t, edge_index, reliability), after)
    with pytest.raises(ValueError, match="got"):
        graphkd.KRDLoss(momentum=-0.1)
    narrow = copy.deepcopy(loss).bfloat16()
    assert narrow.alpha == loss.alpha
    narrow.reset_parameters()
    assert narrow.alpha == 1


def test_nan_reliabilities_are_named() -> None:
    loss, z = graphkd.KRDLoss(), torch.randn(20, 3)
    reliability = torch.rand(20).index_fill(0, torch.tensor([3, 7]), torch.nan)
    with pytest.raises(ValueError, match="reliability is NaN at 2 of 20 nodes"):
        loss.update_alpha(z, z.roll(1, 0), reliability)


def test_products_along_edges_have_derivatives_of_any_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Some blocks of them, with edges that repeat, and a node without any."""
    monkeypatch.setattr(neighbours, "_BLOCK", 8)
    edges = graphkd.Graph(torch.randint(4, (2, 11)), 5).edges
    x, y = (double(5, 3).requires_grad_() for _ in "xy")
    plain = (x[edges.src] * y[edges.dst]).sum(dim=1)
    torch.testing.assert_close(neighbours.edge_products(x, y, edges), plain)
    assert gradcheck(lambda x, y: neighbours.edge_products(x, y, edges), (x, y))
    assert gradgradcheck(lambda x, y: neighbours.edge_products(x, y, edges), (x, y))
