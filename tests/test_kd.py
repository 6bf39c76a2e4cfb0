"""KD's temperatures that are tensors, its divergences, and weights beside its masks."""

import copy
import math
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close

import graphkd
import graphkd.functional as G
from tests.oracles.logits.kd import kd

INF = math.inf
MASK = torch.tensor([[1, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1], [0, 1, 1, 0]]) > 0
WEIGHT = torch.tensor([0.5, 3.0, 2.0, 0.0, 1.25], dtype=torch.float64)
DIVERGENCES = ("kl", "reverse_kl", "js")
FORMS = (
    {},
    {"divergence": "reverse_kl", "weight": WEIGHT},
    {"divergence": "js"},
    {"standardize": True, "divergence": "js"},
    {"task": "multilabel"},
    {"task": "multilabel", "mask": MASK, "weight": WEIGHT},
)


def pair(dtype: torch.dtype = torch.float64, apart: float = 1.0) -> tuple[Tensor, Tensor]:
    z_t = 2 * torch.randn(5, 4, dtype=torch.float64)
    z_s = z_t + apart * torch.randn_like(z_t)
    return z_s.to(dtype).requires_grad_(), z_t.to(dtype)


def temperatures(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """One for all rows, and one for each."""
    one, each = torch.tensor(2.5, dtype=dtype), torch.linspace(0.5, 4, 5, dtype=dtype)
    return one.requires_grad_(), each.requires_grad_()


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form)) or "plain")
def test_gradients_of_temperatures_are_exact(form: dict) -> None:
    z_s, z_t = pair()
    for temperature in temperatures():
        for reduction in ("mean", "none"):

            def value(s: Tensor, t: Tensor, r: str = reduction) -> Tensor:
                return G.kd_loss(s, z_t, temperature=t, reduction=r, **form)

            assert gradcheck(value, (z_s, temperature))
        assert gradgradcheck(value, (z_s, temperature), fast_mode=True)


@pytest.mark.parametrize("form", FORMS[:-1], ids=lambda form: "-".join(map(str, form)) or "plain")
def test_each_row_has_its_own_temperature(form: dict) -> None:
    z_s, z_t = pair()
    one, each = temperatures()
    plain = {name: value for name, value in form.items() if name != "weight"}
    single = [
        G.kd_loss(s[None], t[None], temperature=float(of_row), **plain)
        for s, t, of_row in zip(z_s, z_t, each, strict=True)
    ]
    rows = torch.stack(single) * form.get("weight", torch.ones(5))
    assert_close(G.kd_loss(z_s, z_t, temperature=each, **form, reduction="none"), rows)
    total = form.get("weight", torch.ones(5)).sum()
    assert_close(G.kd_loss(z_s, z_t, temperature=each, **form), rows.sum() / total)
    index = torch.tensor([4, 1, 1])
    chosen = G.kd_loss(z_s, z_t, temperature=each, index=index, **form, reduction="none")
    assert_close(chosen, rows[index])
    assert_close(
        G.kd_loss(z_s, z_t, temperature=one, **form),
        G.kd_loss(z_s, z_t, temperature=float(one), **form),
    )


def test_half_precision_and_other_dtypes_of_temperatures() -> None:
    z_s, z_t = pair(torch.float32)
    expected = G.kd_loss(z_s, z_t, temperature=2.5)
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        temperature = temperatures(dtype)[0]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = G.kd_loss(z_s, z_t, temperature=temperature)
        assert value.dtype == torch.float32
        assert_close(value, expected)
        assert torch.autograd.grad(value, temperature)[0].dtype == dtype


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("apart", [1.0, 1e-2, 1e-4])
def test_float32_has_all_digits(divergence: str, apart: float) -> None:
    """Of values and both gradients, at a temperature by which no logit divides exactly."""
    z_s, z_t = pair(torch.float32, apart)
    learned = torch.tensor(3.0, requires_grad=True)
    s, t = z_s.detach().double().requires_grad_(), torch.tensor(3.0).double().requires_grad_()
    truth = kd(s, z_t.double(), temperature=t, divergence=divergence)
    wanted = torch.autograd.grad(truth.sum(), (s, t))
    for temperature in (3.0, learned):
        rows = G.kd_loss(z_s, z_t, temperature=temperature, divergence=divergence, reduction="none")
        inputs = (z_s, learned) if temperature is learned else (z_s,)
        found = torch.autograd.grad(rows.sum(), inputs)
        assert_close(rows.double(), truth, rtol=2e-6, atol=0)
        assert (found[0] - wanted[0]).norm() < 2e-6 * wanted[0].norm()
        if temperature is learned:
            assert_close(found[1].double(), wanted[1], rtol=2e-6, atol=0)


def test_a_class_that_the_teacher_alone_has_lost() -> None:
    for lost in (-INF, -1e9, torch.finfo(torch.float32).min):
        z_s, z_t = pair(torch.float32)
        z_t[0, 2] = lost
        for temperature in (1.0, 4.0, *temperatures(torch.float32)):
            how = {"temperature": temperature, "reduction": "none"}
            rows = G.kd_loss(z_s, z_t, divergence="reverse_kl", **how)
            (gradient,) = torch.autograd.grad(rows.sum(), z_s)
            assert rows[0] > 1e6
            assert rows[0].isinf() or lost > -INF
            assert rows[1:].isfinite().all()
            assert gradient.isfinite().all()
            assert gradient[0, 2] > 0  # a step takes the student out of this class
            rows = G.kd_loss(z_s, z_t, divergence="js", **how)
            assert (rows[0] > 0) & rows.isfinite().all()


def test_jensen_shannon_is_bounded() -> None:
    z_s = torch.tensor([[0.0, -INF, -INF], [50.0, 0, 0], [1e4, 0, 0]], requires_grad=True)
    z_t = torch.tensor([[-INF, 0.0, 0.0], [0, 0, 50.0], [0, 1e4, -INF]])
    rows = G.kd_loss(z_s, z_t, temperature=1.0, divergence="js", reduction="none")
    assert_close(rows, torch.full((3,), math.log(2)))
    assert (rows <= torch.tensor(math.log(2))).all()
    assert torch.autograd.grad(rows.sum(), z_s)[0].isfinite().all()
    other = G.kd_loss(z_t, z_s.detach(), temperature=1.0, divergence="js", reduction="none")
    assert torch.equal(other, rows)


@pytest.mark.parametrize(("lost_s", "lost_t"), [(-INF, -1e4), (-1e4, -INF), (-1e9, -INF)])
def test_a_mask_over_a_high_temperature_is_still_a_mask(lost_s: float, lost_t: float) -> None:
    z_s, z_t = pair(torch.float32)
    z_s = z_s.detach().index_fill(1, torch.tensor(2), lost_s).requires_grad_()
    z_t[:, 2] = lost_t
    kept, temperature = [0, 1, 3], torch.tensor(20.0, requires_grad=True)
    for divergence in DIVERGENCES:
        how = {"temperature": temperature, "divergence": divergence}
        values = G.kd_loss(z_s, z_t, **how), G.kd_loss(z_s[:, kept], z_t[:, kept], **how)
        assert_close(*values)
        for found in zip(
            *(torch.autograd.grad(v, (z_s, temperature)) for v in values), strict=True
        ):
            assert_close(*found)


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_a_weighted_mean_over_observed_entries(task: str) -> None:
    z_s, z_t = pair()
    weight = WEIGHT.clone().requires_grad_()
    entries = torch.stack(
        [kd(s[:, None], t[:, None], task=task) for s, t in zip(z_s, z_t, strict=True)]
    )
    share = weight[:, None] * MASK
    mean = (share * entries).sum() / share.sum()
    hole = z_t.masked_fill(~MASK, torch.nan)
    value = G.kd_loss(z_s, hole, task=task, mask=MASK, weight=weight)
    assert_close(value, mean)
    for found in zip(*(torch.autograd.grad(v, (z_s, weight)) for v in (value, mean)), strict=True):
        assert_close(*found)
    rows = G.kd_loss(z_s, hole, task=task, mask=MASK, reduction="none")
    for reduction, wanted in (("none", weight * rows), ("sum", (weight * rows).sum())):
        value = G.kd_loss(z_s, hole, task=task, mask=MASK, weight=weight, reduction=reduction)
        assert_close(value, wanted)
    index = torch.tensor([4, 2, 1])
    value = graphkd.KDLoss(task=task)(z_s, hole, mask=MASK, weight=weight, index=index)
    assert_close(value, (share * entries)[index].sum() / share[index].sum())
    value = G.kd_loss(z_s, hole, task=task, mask=MASK, weight=1.0 * (torch.arange(5) == 1))
    assert value == 0  # nothing is observed in the one row that counts
    assert (torch.autograd.grad(value, z_s)[0] == 0).all()


def test_a_temperature_that_learns() -> None:
    z_s, z_t = pair(torch.float32)
    loss = graphkd.KDLoss(nn.Parameter(torch.tensor(3.0)))
    assert [*loss.parameters()] == [loss.temperature]
    assert list(loss.state_dict()) == ["temperature"]
    assert "temperature=Parameter(3)" in repr(loss)
    twin, other = copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))
    optimizer = torch.optim.SGD(loss.parameters(), lr=10.0)
    before = loss(z_s, z_t)
    before.backward()
    optimizer.step()
    assert loss(z_s, z_t) < before
    assert twin(z_s, z_t) == other(z_s, z_t) == before
    assert repr(twin) == repr(other)
    twin.load_state_dict(loss.state_dict())
    assert twin(z_s, z_t) == loss(z_s, z_t)
    with torch.no_grad():
        loss.temperature.fill_(-1.0)
    with pytest.raises(ValueError, match=r"temperature must be positive and finite; got -1\."):
        loss(z_s, z_t)


def test_a_constant_tensor_is_no_state() -> None:
    z_s, z_t = pair()
    for constant in (temperatures()[0].detach().float(), temperatures()[1].detach().float()):
        loss = graphkd.KDLoss(constant)
        # DistributedDataParallel leaves alone what is no buffer.
        assert [*loss.parameters(), *loss.buffers(), *loss.state_dict()] == []
        assert "temperature=" in repr(copy.deepcopy(loss))
        assert_close(loss(z_s, z_t), G.kd_loss(z_s, z_t, temperature=constant.double()))


def test_a_temperature_of_the_call() -> None:
    z_s, z_t = pair()
    one, each = temperatures()
    expected = G.kd_loss(z_s, z_t, temperature=each)
    assert torch.equal(graphkd.KDLoss(1.0)(z_s, z_t, temperature=each), expected)
    total, _ = graphkd.WeightedSum(kd=(2.0, graphkd.KDLoss()))(z_s=z_s, z_t=z_t, temperature=each)
    assert_close(total, 2 * expected)
    hetero = graphkd.HeteroLoss({"a": (1.0, graphkd.KDLoss()), "b": (1.0, graphkd.KDLoss())})
    total, _ = hetero(
        z_s_dict={"a": z_s, "b": z_s},
        z_t_dict={"a": z_t, "b": z_t},
        temperature_dict={"a": each, "b": one},
    )
    assert_close(total, expected + G.kd_loss(z_s, z_t, temperature=one))


def test_what_inference_mode_made_goes_with_a_student_that_learns() -> None:
    z_s, z_t = pair()
    for plain in temperatures():
        with torch.inference_mode():
            made, mask = plain * 1, MASK.clone()
        for given, same in (
            ({"divergence": "js"}, {"divergence": "js"}),
            ({"task": "multilabel", "mask": mask}, {"task": "multilabel", "mask": MASK}),
        ):
            value = G.kd_loss(z_s, z_t, temperature=made, **given)
            expected = G.kd_loss(z_s, z_t, temperature=plain, **same)
            found, right = (torch.autograd.grad(x, z_s)[0] for x in (value, expected))
            assert_close(found, right)


@pytest.mark.parametrize(
    ("bad", "error", "told"),
    [
        (torch.tensor(4), TypeError, r"int64 tensor of shape \(\)\. Call \.float\(\)"),
        (torch.ones(1), ValueError, r"shape \(5,\); got .*\.view\(\(\)\)"),
        (torch.ones(5, 1), ValueError, r"\.view\(-1\)"),
        (torch.ones(4), ValueError, r"shape \(5,\); got .* all rows"),
        (torch.ones(5, 4), TypeError, "belong into the call"),
        (torch.tensor(0.0), ValueError, "positive and finite; got 0"),
        (torch.tensor([1, 2, -3.0, 1, 1]), ValueError, "got numbers from -3 to 2"),
        (torch.tensor(torch.nan), ValueError, "got nan"),
        (torch.full((5,), INF), ValueError, "positive and finite"),
        (torch.ones((), device="meta"), ValueError, "on the same device; got cpu and meta"),
    ],
)
def test_bad_temperatures_are_named(bad: Tensor, error: type[Exception], told: str) -> None:
    z_s, z_t = pair()
    with pytest.raises(error, match=f"kd_loss: .*temperature.*{told}"):
        G.kd_loss(z_s, z_t, temperature=bad)
    with pytest.raises(ValueError, match="task='regression' has no temperature; got float32"):
        graphkd.KDLoss(task="regression")(z_s, z_t, temperature=torch.tensor(2.0))


def test_temperatures_compile() -> None:
    """One that learns, with an index, weights and another divergence, and one for each row."""
    loss = graphkd.KDLoss(nn.Parameter(torch.tensor(3.0)), divergence="js").double()
    index, (z_s, z_t), (_, each) = torch.tensor([4, 1, 1]), pair(), temperatures()

    def value(z_s: Tensor, z_t: Tensor, each: Tensor) -> Tensor:
        chosen = loss(z_s, z_t, weight=WEIGHT, index=index)
        return chosen + G.kd_loss(z_s, z_t, temperature=each, task="multilabel")

    torch._dynamo.reset()
    compiled = torch.compile(value, fullgraph=True, dynamic=True, backend="aot_eager")
    values = [form(z_s, z_t, each) for form in (compiled, value)]
    assert_close(*values)
    inputs = z_s, loss.temperature, each
    for found in zip(*(torch.autograd.grad(v, inputs) for v in values), strict=True):
        assert_close(*found)
