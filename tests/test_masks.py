"""Classes that a mask takes out of the logits, on either or both sides: they have probability 0."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import graphkd.functional as G
from graphkd.ops import reference
from graphkd.ops.reference.soft_targets import Softening
from tests.contract import Loss, every

INF = torch.inf
# What student and teacher hold at a masked class; None leaves it as it is.
MASKS = [(-1e9, -1e4), (-INF, -INF), (torch.finfo(torch.float32).min, -65504.0), (None, -INF)]
# A class of probability 0 in float64 that the oracles' loops can still compute with.
GONE = -250.0


def masked(z: Tensor, value: float | None) -> Tensor:
    least = torch.finfo(z.dtype).min
    columns = torch.arange(z.size(1), device=z.device) == 3
    return (
        z
        if value is None
        else z.masked_fill(columns, value if value == -INF else max(value, least))
    )


def keeps_classes_apart(loss: Loss, options: dict) -> bool:
    """Squared errors and standard scores know no probability of 0."""
    return options.get("task") != "regression" and not options.get("standardize")


@every(variants=True, backends=True, where=lambda loss: loss.logits, keep=keeps_classes_apart)
@pytest.mark.parametrize("values", MASKS, ids=str)
def test_a_masked_class_counts_for_nothing(loss: Loss, options: dict, values: tuple) -> None:
    if options.get("divergence") == "reverse_kl" and values[0] is None:
        return  # infinite: the teacher alone has lost the class
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        h_s, h_t, edge_index = loss.inputs(dtype=dtype)
        h_s = masked(h_s.detach(), values[0]).requires_grad_()
        rows = loss.rows(h_s, masked(h_t, values[1]), edge_index, **options)
        (gradient,) = torch.autograd.grad(rows.sum(), h_s)
        variant = {name: value for name, value in options.items() if name != "backend"}
        x = masked(h_s.detach().double(), None if values[0] is None else GONE).requires_grad_()
        truth = loss.expected(x, masked(h_t.double(), GONE), edge_index, **variant)
        (true_gradient,) = torch.autograd.grad(truth.sum(), x)
        torch.testing.assert_close(rows.double(), truth, rtol=1e-4, atol=1e-6)
        rtol = 1e-2 if dtype == torch.bfloat16 else 1e-4
        torch.testing.assert_close(gradient.double(), true_gradient, rtol=rtol, atol=1e-5)


def test_the_value_is_that_of_the_other_classes() -> None:
    z_s = torch.tensor([[0.0, 1.0, -1e9]], requires_grad=True)
    z_t = torch.tensor([[2.0, 0.0, -1e4]])
    value = G.kd_loss(z_s, z_t, temperature=1.0)
    alone = G.kd_loss(z_s[:, :2], z_t[:, :2], temperature=1.0)
    torch.testing.assert_close(value, torch.tensor(0.8287), rtol=1e-4, atol=0)
    torch.testing.assert_close(value, alone)
    gradients = [torch.autograd.grad(v, z_s)[0] for v in (value, alone)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
@pytest.mark.parametrize("by_hand", [True, False])
def test_a_class_that_only_the_student_has_lost(task: str, by_hand: bool) -> None:
    """The divergence is infinite, as F.kl_div says, and its gradient is still p − q."""
    kind = "softmax" if task == "multiclass" else "sigmoid"
    for lost in (-INF, -1e9):
        z_s = torch.tensor([[0.0, 1.0, lost], [0.0, 1.0, 2.0]], requires_grad=True)
        z_t = torch.tensor([[2.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
        if by_hand:
            rows = G.kd_loss(z_s, z_t, temperature=1.0, task=task, reduction="none")
        else:
            rows = reference.soft_targets(z_s, z_t, Softening(kind=kind))
        (gradient,) = torch.autograd.grad(rows.sum(), z_s)
        p, q = (z.softmax(1) if kind == "softmax" else z.sigmoid() / 3 for z in (z_s, z_t))
        torch.testing.assert_close(gradient, p - q)
        expected = -lost * q[0, 2] if lost > -INF else torch.tensor(INF)
        torch.testing.assert_close(rows[0], expected.detach())
        assert rows[1].isfinite()


@pytest.mark.parametrize("size", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_near_convergence_beside_masked_classes(task: str, size: float) -> None:
    z_t = torch.randn(50, 12)
    z_s = z_t + size * torch.randn(50, 12)
    z_s[:, :3], z_t[:, :3] = -1e9, -INF
    z_s[::2, 3], z_t[::2, 3] = -60.0, -80.0
    z_s.requires_grad_()
    got, truth = (
        G.kd_loss(z_s.to(dtype), z_t.to(dtype), temperature=3.0, task=task)
        for dtype in (torch.float32, torch.float64)
    )
    torch.testing.assert_close(got.double(), truth, rtol=1e-6, atol=0)
    gradients = [torch.autograd.grad(v, z_s)[0] for v in (got, truth)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6 * float(gradients[1].abs().max()))


@pytest.mark.parametrize("values", [(-1e9, -1e9), (-1e4, None), (None, -1e9)], ids=str)
def test_standard_scores_of_masked_logits_are_plain_torchs(values: tuple) -> None:
    def scores(z: Tensor) -> Tensor:
        return (z - z.mean(1, keepdim=True)) / z.std(1, keepdim=True)

    z_s, z_t = torch.randn(2, 6, 5).unbind()
    z_s, z_t = masked(z_s, values[0]).requires_grad_(), masked(z_t, values[1])
    p, q = ((scores(z.double()) / 2).log_softmax(1) for z in (z_s, z_t))
    truth = 4 * F.kl_div(p, q, log_target=True, reduction="batchmean")
    value = G.kd_loss(z_s, z_t, temperature=2.0, standardize=True)
    torch.testing.assert_close(value.double(), truth, rtol=1e-5, atol=1e-12)
    gradients = [torch.autograd.grad(v, z_s)[0] for v in (value, truth)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-7)


def test_standard_scores_have_a_limit_at_minus_infinity() -> None:
    z_s, z_t = torch.randn(2, 6, 5).unbind()
    value = G.kd_loss(masked(z_s, -INF), z_t, standardize=True)
    torch.testing.assert_close(value, G.kd_loss(masked(z_s, -1e20), z_t, standardize=True))


def test_nothing_is_compared_where_one_class_is_left() -> None:
    z_s = torch.tensor([[1.0, -INF, -INF]], requires_grad=True)
    for value in (
        G.kd_loss(z_s, z_s),
        G.dkd_loss(z_s, z_s, torch.tensor([0])),
        G.kd_loss(z_s, 2 * z_s.detach()),
    ):
        assert value == 0
        assert (torch.autograd.grad(value, z_s)[0] == 0).all()


def test_plus_infinity_and_nan_are_not_masks() -> None:
    for bad in (INF, torch.nan):
        for side in (0, 1):
            z = [torch.randn(4, 5), torch.randn(4, 5)]
            z[side][0, 3] = bad
            rows = G.kd_loss(*z, reduction="none")
            assert rows[0].isnan()
            assert rows[1:].isfinite().all()
            assert not G.kd_loss(*z, task="multilabel").isfinite()
