"""Options of G-CRD that each are tried with the others: weights, and a temperature that learns."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import graphkd
import graphkd.functional as G
from graphkd.ops import _autograd
from tests.contract import RELATIVE

N = 9
LABELS = torch.tensor([3, 0, 3, -1, 0, 70, 3, -1, 1])
PAIRS = torch.tensor([[0, 0, 4, 8, 8, 2], [1, 2, 8, 4, 3, 2]])
OTHERS = (
    {"labels": LABELS, "symmetric": True},
    {"positives": PAIRS},
    {"extra_keys": torch.linspace(-1, 1, 15, dtype=torch.float64).view(3, 5), "symmetric": True},
    {"teacher_temperature": 0.1, "symmetric": True},
)


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    h_s, h_t = torch.randn(2, N, 5, dtype=torch.float64).unbind()
    weight = torch.rand(N, dtype=torch.float64).index_fill(0, torch.tensor([2, 7]), 0)
    return h_s.requires_grad_(), h_t, weight.requires_grad_()


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("options", OTHERS, ids=lambda options: next(iter(options)))
def test_weights_go_with_other_options(options: dict) -> None:
    h_s, h_t, weight = inputs()
    index = torch.tensor([8, 2, 0, 4, 3])
    rows = G.gcrd_loss(h_s, h_t, index=index, **options, reduction="none")
    expected = (weight[index] * rows).sum() / weight[index].sum()
    value = G.gcrd_loss(h_s, h_t, index=index, weight=weight, **options)
    assert_close(value, expected)
    found, wanted = (torch.autograd.grad(x, (h_s, weight)) for x in (value, expected))
    assert_close(found, wanted)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_drawn_anchors_keep_their_weights(reduction: str) -> None:
    h_s, h_t, weight = inputs()
    drawn = torch.randperm(N, generator=seeded())[:6]
    options = {"reduction": reduction, "symmetric": True}
    value = G.gcrd_loss(h_s, h_t, weight=weight, max_samples=6, generator=seeded(), **options)
    expected = G.gcrd_loss(h_s[drawn], h_t[drawn], weight=weight[drawn], **options)
    assert_close(value, expected)
    found, wanted = (torch.autograd.grad(x, (h_s, weight)) for x in (value, expected))
    assert_close(found, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_weights_need_no_second_sweep(reduction: str, dtype: torch.dtype, monkeypatch) -> None:
    """The forward pass makes the gradients of the weighted rows; other gradients come anew."""
    known, rescale = [], _autograd._rescale
    monkeypatch.setattr(
        _autograd, "_rescale", lambda *args: known.append(rescale(*args)) or known[-1]
    )
    h_s, h_t, weight = inputs()
    h_s, h_t, weight = (x.detach().to(dtype) for x in (h_s, h_t, weight))
    for given in (weight, 0 * weight, 1e30 * weight):
        for options in (
            {}, {"symmetric": True}, {"temperature": learned()}, {"num_negatives": 4},
            {"teacher_temperature": 0.1}, {"teacher_temperature": 0.1, "temperature": learned()},
        ):  # fmt: skip
            x = h_s.clone().requires_grad_()
            options = {"weight": given, "generator": seeded(), **options}
            rows = G.gcrd_loss(x, h_t, reduction="none", **options)
            rows.backward(torch.linspace(1, 2, N, dtype=dtype))
            assert known.pop() is None or not given.any()
            G.gcrd_loss(x, h_t, reduction=reduction, **options).backward()
            assert known.pop() is not None


def test_queued_keys_have_no_weight() -> None:
    h_s, h_t, weight = inputs()
    loss = graphkd.GCRDLoss(5, 5, head="identity", queue_size=20)
    loss(h_s, h_t, ids=torch.arange(N), weight=weight)
    index = torch.tensor([8, 2, 0])
    value = loss(h_t, h_s, ids=torch.arange(N, 2 * N), weight=weight, index=index)
    assert_close(value, G.gcrd_loss(h_t, h_s, extra_keys=h_t, weight=weight, index=index))


def learned(value: float = 0.3, dtype: torch.dtype = torch.float64) -> nn.Parameter:
    return nn.Parameter(torch.tensor(value, dtype=dtype))


def slope(value: Callable[[float], Tensor], at: float, step: float = 1e-5) -> Tensor:
    """The derivative by the temperature as a number, from four values."""
    near, far = (value(at + h) - value(at - h) for h in (step, 2 * step))
    return (8 * near - far) / (12 * step)


WAYS = (
    {},
    {"symmetric": True, "weight": torch.linspace(0, 2, N, dtype=torch.float64)},
    {"num_negatives": 4, "reduction": "sum"},
    {"num_negatives": 4, "symmetric": True},
    {"max_samples": 6, "symmetric": True},
    {"index": torch.tensor([8, 2, 0, 4, 3])},
    *OTHERS,
)


@pytest.mark.parametrize("backend", RELATIVE)
@pytest.mark.parametrize("options", WAYS, ids=lambda options: "-".join(options) or "default")
def test_the_temperature_gets_its_gradient(options: dict, backend: str) -> None:
    if backend == "triton" and "teacher_temperature" in options:
        return
    h_s, h_t, _ = inputs()
    way = {"chunk_size": 4} if backend == "chunked" else {}

    def value(temperature: float | Tensor) -> Tensor:
        given = {"temperature": temperature, "generator": seeded(), "backend": backend}
        return G.gcrd_loss(h_s, h_t, **given, **options, **way)

    # At 0.002, sums need a running maximum.
    for number, step in ((0.3, 1e-4), (0.002, 1e-7)) if backend != "triton" else ((0.3, 1e-4),):
        tau = learned(number)
        loss, plain = value(tau), value(number)
        assert_close(loss, plain)
        rows, gradient = torch.autograd.grad(loss, (h_s, tau))
        assert_close(rows, torch.autograd.grad(plain, h_s)[0])
        with torch.no_grad():
            assert_close(gradient, slope(value, number, step), rtol=1e-6, atol=1e-7)


def test_a_learned_temperature_is_a_parameter_of_the_module() -> None:
    h_s, h_t, _ = inputs()
    loss = graphkd.GCRDLoss(5, 5, 4, temperature=learned()).double()
    assert loss.temperature in set(loss.parameters())
    value = loss(h_s, h_t)
    value.backward()
    assert loss.temperature.grad != 0
    other = graphkd.GCRDLoss(5, 5, 4, temperature=learned(0.7)).double()
    other.load_state_dict(loss.state_dict())
    for same in (other, copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(same(h_s, h_t), value)
        assert repr(same) == repr(loss)
        assert "temperature=Parameter(0.3)" in repr(same)
        assert same.temperature is not loss.temperature
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    before = loss.temperature.grad.clone()
    compiled(h_s, h_t).backward()
    assert_close(loss.temperature.grad, 2 * before)
    single = loss.float()
    assert_close(single(h_s.float(), h_t.float()), value.float())
    loss(h_s[:0].float(), h_t[:0].float()).backward()


def test_a_tensor_is_a_temperature_too() -> None:
    h_s, h_t, _ = inputs()
    fixed = torch.tensor(0.3)
    expected = G.gcrd_loss(h_s, h_t, temperature=fixed.item())
    for dtype in (torch.float32, torch.float64):
        assert_close(G.gcrd_loss(h_s, h_t, temperature=fixed.to(dtype)), expected)
    loss = graphkd.GCRDLoss(5, 5, head="identity", temperature=fixed)
    assert not list(loss.parameters())
    assert_close(loss(h_s, h_t), expected)
    with pytest.raises(
        ValueError, match="temperature must be on the same device; got cpu and meta"
    ):
        G.gcrd_loss(h_s, h_t, temperature=fixed.to("meta"))
    with torch.inference_mode():
        made, keys = torch.tensor(0.3), h_t[:3] * 1
    for soft in (None, 0.1):
        given = {"temperature": fixed, "extra_keys": h_t[:3], "teacher_temperature": soft}
        right, *found = (
            torch.autograd.grad(G.gcrd_loss(h_s, h_t, **{**given, **more}), h_s)[0]
            for more in ({}, {"temperature": made}, {"extra_keys": keys})
        )
        assert_close(found, [right, right])
    log = torch.tensor(0.3, dtype=torch.float64).log().requires_grad_()
    G.gcrd_loss(h_s, h_t, temperature=log.exp()).backward()
    tau = learned()
    G.gcrd_loss(h_s, h_t, temperature=tau).backward()
    assert_close(log.grad, tau.grad * 0.3)
    through = torch.func.grad(lambda t: G.gcrd_loss(h_s, h_t, temperature=t))(tau.detach())
    assert_close(through, tau.grad)
    nothing = learned()
    G.gcrd_loss(h_s[:0], h_t[:0], temperature=nothing).backward()
    assert nothing.grad == 0


@pytest.mark.parametrize(
    ("bad", "error", "says"),
    [
        (learned(0.0), ValueError, "positive and finite; got 0"),
        (learned(-0.1), ValueError, "positive and finite; got -0.1"),
        (learned(float("nan")), ValueError, "positive and finite; got nan"),
        (torch.tensor(1), TypeError, r"\.float\(\)"),
        (torch.full((N,), 0.1), ValueError, r"of shape \(9,\)\. Here all rows have one"),
        (torch.full((1,), 0.1), ValueError, r"\.view\(\(\)\)"),
    ],
)
def test_wrong_temperatures(bad: Tensor, error: type[Exception], says: str) -> None:
    h_s, h_t, _ = inputs()
    with pytest.raises(error, match=f"gcrd_loss: temperature .*{says}"):
        G.gcrd_loss(h_s, h_t, temperature=bad)
    with pytest.raises(error, match=f"GCRDLoss: temperature .*{says}"):
        graphkd.GCRDLoss(5, 5, temperature=bad)
