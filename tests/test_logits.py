"""Logit standardisation, DKD and DIST: the released formulas, refusals, and extreme inputs."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import graphkd
import graphkd.functional as G


def pair(n: int = 30, classes: int = 7, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    z_s, z_t = scale * torch.randn(2, n, classes, dtype=torch.float64)
    return z_s.requires_grad_(), z_t


def labels(n: int = 30, classes: int = 7) -> Tensor:
    return torch.randint(0, classes, (n,))


def assert_same(ours: Tensor, released: Tensor, z_s: Tensor, rtol: float = 1e-6) -> None:
    torch.testing.assert_close(ours, released, rtol=rtol, atol=1e-12)
    gradients = [torch.autograd.grad(value, z_s)[0] for value in (ours, released)]
    torch.testing.assert_close(*gradients, rtol=rtol, atol=rtol * float(gradients[1].abs().max()))


def released_kd(z_s: Tensor, z_t: Tensor, temperature: float) -> Tensor:
    z_s, z_t = ((z - z.mean(-1, keepdim=True)) / (1e-7 + z.std(-1, keepdim=True))
                for z in (z_s, z_t))  # fmt: skip
    p, q = (z_s / temperature).log_softmax(1), (z_t / temperature).softmax(1)
    return F.kl_div(p, q, reduction="none").sum(1).mean() * temperature**2


def released_dkd(z_s: Tensor, z_t: Tensor, y: Tensor, a: float, b: float, t: float) -> Tensor:
    own = F.one_hot(y, z_s.size(1)).to(z_s.dtype)

    def binary(z: Tensor) -> Tensor:
        p = (z / t).softmax(1)
        return torch.stack([(p * own).sum(1), (p * (1 - own)).sum(1)], 1)

    def rest(z: Tensor) -> Tensor:
        return z / t - 1000.0 * own

    target = F.kl_div(binary(z_s).log(), binary(z_t), reduction="sum")
    among = F.kl_div(rest(z_s).log_softmax(1), rest(z_t).softmax(1), reduction="sum")
    return (a * target + b * among) * t**2 / len(y)


def released_dist(z_s: Tensor, z_t: Tensor, b: float, g: float, t: float) -> Tensor:
    def one_minus(x: Tensor, y: Tensor) -> Tensor:
        x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
        return 1 - ((x * y).sum(1) / (x.norm(dim=1) * y.norm(dim=1) + 1e-8)).mean()

    p, q = (z_s / t).softmax(1), (z_t / t).softmax(1)
    return t**2 * (b * one_minus(p, q) + g * one_minus(p.t(), q.t()))


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("classes", [3, 40])
def test_standardised_kd_is_the_released_value(temperature: float, classes: int) -> None:
    z_s, z_t = pair(classes=classes)
    ours = G.kd_loss(z_s, z_t, temperature=temperature, standardize=True)
    assert_same(ours, released_kd(z_s, z_t, temperature), z_s)


def test_the_population_deviation_is_another_temperature() -> None:
    z_s, z_t = pair()
    population = G.kd_loss(z_s, z_t, temperature=2.0, standardize="population")
    other = G.kd_loss(z_s, z_t, temperature=2.0 * (6 / 7) ** 0.5, standardize=True)
    assert_same(population, other * 7 / 6, z_s)


def test_standardised_kd_ignores_the_scale_and_shift_of_each_row() -> None:
    z_s, z_t = pair()
    factor, shift = torch.rand(30, 1).double() * 100 + 0.01, 100 * torch.randn(30, 1).double()
    value = G.kd_loss(z_s, z_t, standardize=True)
    torch.testing.assert_close(G.kd_loss(z_s * factor + shift, z_t, standardize=True), value)
    torch.testing.assert_close(G.kd_loss(z_s, z_t * factor + shift, standardize=True), value)
    assert G.kd_loss(z_t * factor, z_t, standardize=True) < 1e-25


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("level", [0.0, 0.1, -1234.567])
def test_a_row_of_equal_logits_is_zero_without_a_gradient(dtype: torch.dtype, level: float) -> None:
    z_s, z_t = (z.detach().to(dtype) for z in pair(classes=7))
    z_s[3], z_t[5] = level, level
    z_s.requires_grad_()
    rows = G.kd_loss(z_s, z_t, temperature=1.0, standardize=True, reduction="none")
    (gradient,) = torch.autograd.grad(rows.sum(), z_s)
    assert gradient.isfinite().all()
    assert (gradient[3] == 0).all()
    other = z_t[3:4].double()
    wanted = G.kd_loss(torch.zeros_like(other), other / other.std(), temperature=1.0)
    torch.testing.assert_close(rows[3].double(), wanted, rtol=1e-5, atol=0)


def test_only_multiclass_logits_are_standardised() -> None:
    for task in ("multilabel", "regression"):
        with pytest.raises(ValueError, match="Leave it out"):
            graphkd.KDLoss(task=task, standardize=True)
        assert graphkd.KDLoss(task=task, standardize=False).standardize is False
    for wrong in ("sample", None, 1, 0.5):
        with pytest.raises(ValueError, match="False, True or 'population'"):
            graphkd.KDLoss(standardize=wrong)


def test_soft_targets_on_all_nodes_are_those_of_glnn() -> None:
    z_s, z_t = pair()
    index = torch.randperm(30)[:12]
    criterion = nn.KLDivLoss(reduction="batchmean", log_target=True)
    released = criterion(z_s[index].log_softmax(1), z_t[index].log_softmax(1))
    distill = graphkd.KDLoss(temperature=1.0)
    assert_same(distill(z_s, z_t, index=index), released, z_s)
    torch.testing.assert_close(distill(z_s, z_t.log_softmax(1), index=index), released)


@pytest.mark.parametrize("options", [(1.0, 8.0, 4.0), (0.3, 0.0, 1.0), (0.0, 2.0, 0.5)])
@pytest.mark.parametrize("classes", [3, 40])
def test_dkd_is_the_released_value(options: tuple[float, float, float], classes: int) -> None:
    z_s, z_t = pair(classes=classes)
    y = labels(classes=classes)
    alpha, beta, temperature = options
    ours = G.dkd_loss(z_s, z_t, y, alpha=alpha, beta=beta, temperature=temperature)
    assert_same(ours, released_dkd(z_s, z_t, y, alpha, beta, temperature), z_s)


def test_kd_is_dkd_with_each_row_weighted_by_the_teachers_doubt() -> None:
    z_s, z_t = pair()
    y = labels()
    target = G.dkd_loss(z_s, z_t, y, alpha=1, beta=0, reduction="none")
    among = G.dkd_loss(z_s, z_t, y, alpha=0, beta=1, reduction="none")
    doubt = 1 - (z_t / 4).softmax(1).gather(1, y[:, None])[:, 0]
    torch.testing.assert_close(target + doubt * among, G.kd_loss(z_s, z_t, reduction="none"))


def test_dkd_needs_a_class_of_each_row_that_takes_part() -> None:
    z_s, z_t = pair()
    y = labels()
    for outside in (-1, 7):
        bad = y.index_fill(0, torch.tensor([4]), outside)
        with pytest.raises(IndexError, match=rf"class {outside}, but the logits have 7 classes"):
            G.dkd_loss(z_s, z_t, bad)
        index = torch.arange(30) != 4
        torch.testing.assert_close(
            G.dkd_loss(z_s, z_t, bad, index=index), G.dkd_loss(z_s, z_t, y, index=index)
        )
    torch.testing.assert_close(G.dkd_loss(z_s, z_t, y.int()), G.dkd_loss(z_s, z_t, y))
    for wrong in (y.double(), y > 2, y.tolist(), None, y[:5], y[:, None], y.to("meta")):
        with pytest.raises((TypeError, ValueError), match="y must"):
            G.dkd_loss(z_s, z_t, wrong)


@pytest.mark.parametrize("classes", [1, 2])
def test_dkd_refuses_two_classes(classes: int) -> None:
    z_s, z_t = pair(classes=classes)
    with pytest.raises(ValueError, match=r"at least three classes; .* Use KDLoss"):
        graphkd.DKDLoss()(z_s, z_t, torch.zeros(30, dtype=torch.long))


@pytest.mark.parametrize("scale", [50.0, 1e4])
def test_dkd_of_certain_teachers_is_finite(scale: float) -> None:
    z_s, z_t = pair(scale=scale)
    value = G.dkd_loss(z_s.float(), z_t.float(), z_t.argmax(1), temperature=1.0)
    assert value.isfinite()
    assert torch.autograd.grad(value, z_s)[0].isfinite().all()


@pytest.mark.parametrize("options", [(1.0, 1.0, 1.0), (2.0, 0.5, 4.0), (0.0, 1.0, 2.0)])
@pytest.mark.parametrize("classes", [3, 40])
def test_dist_is_the_released_value(options: tuple[float, float, float], classes: int) -> None:
    z_s, z_t = pair(classes=classes)
    beta, gamma, temperature = options
    ours = G.dist_loss(z_s, z_t, beta=beta, gamma=gamma, temperature=temperature)
    assert_same(ours, released_dist(z_s, z_t, beta, gamma, temperature), z_s)


def test_dist_of_equal_probabilities_is_the_released_value() -> None:
    z_s, z_t = pair()
    for n, flat_s, flat_t in ((30, 30, 0), (30, 0, 30), (30, 3, 1), (30, 30, 30), (1, 0, 0)):
        s, t = z_s.detach()[:n].clone(), z_t[:n].clone()
        s[:flat_s], t[:flat_t] = 0.1, -3.0
        s.requires_grad_()
        value = G.dist_loss(s, t)
        torch.testing.assert_close(value, released_dist(s, t, 1, 1, 1), rtol=1e-6, atol=0)
        torch.testing.assert_close(G.dist_loss(s, t, reduction="none").mean(), value)
        (gradient,) = torch.autograd.grad(value, s)
        assert gradient.isfinite().all()
        if flat_s == 30 or flat_t == 30:
            assert gradient.abs().max() < 1e-15


def test_two_classes_say_only_which_one_is_ahead_in_each_row() -> None:
    z_s, z_t = pair(classes=2)
    rows = G.dist_loss(z_s, z_t, gamma=0, reduction="none")
    agree = z_s.argmax(1) == z_t.argmax(1)
    torch.testing.assert_close(rows, 2 * (~agree).double(), rtol=0, atol=1e-4)
    assert_same(G.dist_loss(z_s, z_t), released_dist(z_s, z_t, 1, 1, 1), z_s)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 10.0])
@pytest.mark.parametrize(("n", "classes", "temperature"), [(8, 40, 1.0), (64, 10, 4.0)])
def test_dist_has_the_released_epsilon(
    scale: float, n: int, classes: int, temperature: float
) -> None:
    """In rarely predicted classes the epsilon is most of the value, also near convergence."""
    z_s, z_t = pair(n=n, classes=classes, scale=scale)
    near = (z_t + 1e-2 * scale * torch.randn_like(z_t)).requires_grad_()
    for z in (z_s, near):
        ours = G.dist_loss(z, z_t, temperature=temperature)
        assert_same(ours, released_dist(z, z_t, 1, 1, temperature), z, rtol=1e-6)


def test_dist_needs_two_classes() -> None:
    with pytest.raises(ValueError, match=r"at least two classes; .*multilabel"):
        graphkd.DISTLoss()(*pair(classes=1))


@pytest.mark.parametrize("size", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("name", ["standardised", "dkd", "dist"])
def test_nearly_equal_logits_keep_their_digits(name: str, size: float) -> None:
    z_t = torch.randn(500, 10)
    z_s = (z_t + size * torch.randn(500, 10)).requires_grad_()
    y = z_t.argmax(1)

    def value(s: Tensor, t: Tensor) -> Tensor:
        if name == "standardised":
            return G.kd_loss(s, t, standardize=True)
        return G.dkd_loss(s, t, y) if name == "dkd" else G.dist_loss(s, t)

    ours, truth = value(z_s, z_t), value(z_s.double(), z_t.double())
    torch.testing.assert_close(ours.double(), truth, rtol=1e-6, atol=0)
    assert 0 < truth < 100 * size**2 + 1e-5 * (name == "dist")  # DIST has an epsilon
    gradients = [torch.autograd.grad(v, z_s)[0] for v in (ours, truth)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6 * float(gradients[1].abs().max()))


def test_the_losses_compile_together() -> None:
    """Two divergences in one graph, which torch.compile once refused."""
    z_s, z_t = pair()
    objective = graphkd.WeightedSum(
        soft=(1.0, graphkd.KDLoss()),
        sharp=(1.0, graphkd.KDLoss(1.0, standardize=True)),
        dkd=(0.1, graphkd.DKDLoss()),
        dist=(1.0, graphkd.DISTLoss()),
    )
    arguments = {"z_s": z_s, "z_t": z_t, "y": labels()}
    torch._dynamo.reset()
    compiled = torch.compile(objective, fullgraph=True, dynamic=True, backend="eager")
    value, expected = compiled(**arguments)[0], objective(**arguments)[0]
    assert_same(value, expected, z_s)
