"""G-CRD with soft targets: what they are, near convergence, at the limit, and in a queue."""

import importlib

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

import graphkd
import graphkd.functional as G
from graphkd.ops.contrast_primitives import soft_infonce as primitive
from graphkd.ops.reference.soft_infonce import Targets
from tests.oracles.contrast.gcrd import gcrd
from tests.test_accuracy import relative_error, value_and_gradient

N = 9
# Float32 has it exactly.
TAU = 0.125
# The package has a function of this name.
CHUNKED = importlib.import_module("graphkd.ops.chunked.soft_infonce")


def doubles(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def inputs(n: int = N, width: int = 5) -> tuple[Tensor, Tensor]:
    return doubles(n, width).requires_grad_(), doubles(n, width)


# The formula --------------------------------------------------------------------------------------


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("block", [2**20, 16], ids=["one tile", "many tiles"])
def test_hard_targets_are_the_limit(symmetric: bool, dtype, block: int, monkeypatch) -> None:
    monkeypatch.setattr(CHUNKED, "BLOCK", block)
    h_s, h_t = (x.detach().to(dtype).requires_grad_() for x in inputs())
    options = {"symmetric": symmetric, "chunk_size": 8}
    hard = G.gcrd_loss(h_s, h_t, **options)
    for soft in (1e-3, 1e-6, 1e-20):
        value = G.gcrd_loss(h_s, h_t, teacher_temperature=soft, **options)
        assert_close(value, hard, rtol=1e-5, atol=1e-6)
        assert_close(*(torch.autograd.grad(x, h_s, retain_graph=True) for x in (value, hard)),
                     rtol=1e-5, atol=1e-6)  # fmt: skip


def test_it_is_the_cross_entropy_of_seed_less_the_entropy_of_the_targets() -> None:
    h_s, h_t = inputs()
    u, v = F.normalize(h_s), F.normalize(h_t)
    a = (v @ v.T / 0.1).softmax(dim=1)
    seed = -(a * (u @ v.T / 0.2).log_softmax(dim=1)).sum(dim=1)
    rows = G.gcrd_loss(h_s, h_t, temperature=0.2, teacher_temperature=0.1, reduction="none")
    assert_close(rows, seed + (a * a.log()).sum(dim=1))


# At 0.002, the teacher may give a share to a key of which the student's exponential underflows.
@pytest.mark.parametrize("temperatures", [(0.2, 0.1), (0.002, 0.01), (0.5, 1e-3), (1e-3, 0.5)])
@pytest.mark.parametrize("others", [0, 4])
@pytest.mark.parametrize("own", [True, False])
def test_both_sides_may_learn(
    temperatures: tuple[float, float], others: int, own: bool, monkeypatch
) -> None:
    """The targets may be of another width than the rows, and get no gradient."""
    temperature, soft = temperatures
    p, q, more, weights = inputs()[0], inputs()[0], doubles(others, 5), torch.rand(N).double()
    targets = Targets(soft) if own else Targets(soft, doubles(N, 7), doubles(others, 7))
    args = "", p, q, more, targets, temperature
    found = [primitive(*args, "reference", None), primitive(*args, "chunked", None)]
    monkeypatch.setattr(CHUNKED, "BLOCK", 16)  # many tiles
    found += [primitive(*args, "chunked", 2), primitive(*args, "chunked", 8)]
    gradients = [torch.autograd.grad((rows * weights).sum(), (p, q)) for rows in found]
    for rows, pulls in zip(found[1:], gradients[1:], strict=True):
        assert_close(rows, found[0])
        assert_close(pulls, gradients[0])
    given = {} if own else {"targets": targets.rows, "extra_targets": targets.more}
    wanted = gcrd(p, q.detach(), temperature=temperature, teacher_temperature=soft,
                  extra_keys=more, **given)  # fmt: skip
    assert_close(found[0], wanted)
    assert_close(gradients[0][0], torch.autograd.grad((wanted * weights).sum(), p)[0])


# Accuracy -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(
    ("backend", "block"),
    [("chunked", 2**20), ("chunked", 2**10), ("reference", 2**20)],
    ids=["one tile", "many tiles", "reference"],
)
def test_the_digits_of_a_student_that_nearly_agrees(
    noise: float, symmetric: bool, backend: str, block: int, monkeypatch
) -> None:
    monkeypatch.setattr(CHUNKED, "BLOCK", block)
    h_t = torch.randn(200, 16)
    h_s = h_t + noise * torch.randn(200, 16)

    def loss(h: Tensor, backend: str = backend, **options) -> Tensor:
        soft = {"temperature": TAU, "teacher_temperature": TAU, "symmetric": symmetric, **options}
        return G.gcrd_loss(h, h_t.to(h.dtype), backend=backend, chunk_size=40, **soft)

    truth = value_and_gradient(lambda h: loss(h, "reference"), h_s.double())
    found = value_and_gradient(loss, h_s)
    assert (loss(h_s, reduction="none") >= 0).all()
    assert relative_error(found[0], truth[0]) < 1e-6
    assert relative_error(found[1], truth[1]) < 5e-6
    learned = loss(h_s, temperature=torch.tensor(TAU, requires_grad=True))
    assert relative_error(learned, truth[0]) < 1e-6
    assert loss(h_t) < 1e-12


@pytest.mark.parametrize("noise", [1e-2, 1e-3])
def test_targets_in_another_space_are_no_worse_than_plain_torch(noise: float) -> None:
    t = torch.randn(200, 16, dtype=torch.float64)
    turn = torch.linalg.qr(doubles(16, 16)).Q
    p, q = (x.float() for x in ((t + noise * torch.randn_like(t)) @ turn, t @ turn))
    t = t.float()

    def ours(x: Tensor) -> Tensor:
        targets = Targets(0.1, t.to(x.dtype), t[:0].to(x.dtype))
        y = q.to(x.dtype)
        return primitive("", x, y, y[:0], targets, 0.1, "auto", None).mean()

    def plain(x: Tensor) -> Tensor:
        a = (F.normalize(t) @ F.normalize(t).T / 0.1).log_softmax(dim=1)
        b = (F.normalize(x) @ F.normalize(q).T / 0.1).log_softmax(dim=1)
        return (a.exp() * (a - b)).sum(dim=1).mean()

    truth, found, budget = (
        value_and_gradient(f, x) for f, x in ((ours, p.double()), (ours, p), (plain, p))
    )
    for a, b, right in zip(found, budget, truth, strict=True):
        assert relative_error(a, right) <= relative_error(b, right) + 1e-6


# The Module ---------------------------------------------------------------------------------------


def soft_loss(head: object = "linear", **options) -> graphkd.GCRDLoss:
    given = {"temperature": 0.3, "teacher_temperature": 0.1, **options}
    return graphkd.GCRDLoss(4, 6, 6, head=head, **given).double()


def test_targets_are_the_rows_before_the_head() -> None:
    loss, h_s, h_t = soft_loss(), doubles(N, 4), doubles(N, 6)
    p, q, _ = loss.projected(h_s, h_t, None, None)
    wanted = gcrd(p, q, temperature=0.3, teacher_temperature=0.1, targets=h_t).mean()
    assert_close(loss(h_s, h_t), wanted)
    with torch.no_grad():  # a teacher's head that sends all rows to one point
        loss.head_t.map.weight.zero_()
    assert loss(h_s, h_t) > 0.1


@pytest.mark.parametrize("head", ["linear", "student"])
def test_a_queue_keeps_targets_too(head: str) -> None:
    loss = soft_loss(head, queue_size=30, symmetric=True)
    first, second = (doubles(N, 4), doubles(N, 6)), (doubles(N, 4), doubles(N, 6))
    extra = doubles(2, 6)
    loss(*first, ids=torch.arange(N))
    keys = loss.head_t(torch.cat([first[1], extra]))
    p, q, _ = loss.projected(*second, None, None)
    wanted = gcrd(p, q, temperature=0.3, teacher_temperature=0.1, symmetric=True,
                  targets=second[1], extra_keys=keys,
                  extra_targets=torch.cat([first[1], extra])).mean()  # fmt: skip
    value = loss(*second, ids=torch.arange(N, 2 * N), extra_keys=keys[N:], extra_targets=extra)
    assert_close(value, wanted)
    fresh = soft_loss(head, queue_size=30, symmetric=True)
    fresh.load_state_dict(loss.state_dict())
    ids = torch.arange(N) + 50
    assert fresh(*first, ids=ids) == loss(*first, ids=ids)
    spoilt = first[1].clone()
    spoilt[3, 1] = torch.inf
    loss(first[0], spoilt, ids=ids)
    assert loss(*second, ids=torch.arange(N)).isfinite()


# Refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"labels": torch.arange(N)}, "labels= and positives= say it too"),
        ({"positives": torch.zeros(2, 1, dtype=torch.long)}, "Leave one out"),
        ({"num_negatives": 4}, "each key is a positive to some degree"),
        ({"backend": "triton"}, "no programs for GPUs"),
        ({"extra_targets": doubles(2, 5)}, "without extra_keys"),
        ({"extra_keys": doubles(2, 5), "extra_targets": doubles(3, 5)}, r"shape \(2, 5\)"),
        ({"extra_keys": doubles(2, 5), "extra_targets": doubles(2, 4)}, r"shape \(2, 5\)"),
    ],
)
def test_wrong_calls(options: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        G.gcrd_loss(*inputs(), teacher_temperature=0.1, **options)


def test_wrong_calls_of_the_module() -> None:
    h_s, h_t, keys = doubles(N, 4), doubles(N, 6), doubles(2, 6)
    with pytest.raises(ValueError, match="Pass the rows before the head as extra_targets="):
        soft_loss()(h_s, h_t, extra_keys=keys)
    with pytest.raises(ValueError, match="without teacher_temperature"):
        soft_loss(teacher_temperature=None)(h_s, h_t, extra_keys=keys, extra_targets=keys)
    loss = soft_loss(teacher_temperature=None, queue_size=9)
    loss.teacher_temperature = 0.1
    with pytest.raises(ValueError, match="Build the loss with it"):
        loss(h_s, h_t, ids=torch.arange(N))
    with pytest.raises(TypeError, match="teacher_temperature must be a number"):
        soft_loss(teacher_temperature="low")
