"""Error budgets: as near float64 truth as plain torch in the same dtype, and special cases.

Inputs are independent, nearly converged, rotated, or far from the origin.
"""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import graphkd.functional as G
from tests.contract import KERNELS, Loss, every


def relative_error(value: Tensor, truth: Tensor) -> float:
    return float((value.double() - truth).norm() / truth.norm().clamp(min=1e-30))


def value_and_gradient(function, h_s: Tensor) -> tuple[Tensor, Tensor]:
    h_s = h_s.detach().requires_grad_()
    value = function(h_s)
    return value.detach(), torch.autograd.grad(value, h_s)[0]


def scenario(name: str, n: int, dims: tuple[int, int]) -> tuple[Tensor, Tensor]:
    h_s, h_t = (torch.randn(n, dim, dtype=torch.float64) for dim in dims)
    if name == "converged":
        h_t = h_s + 1e-4 * torch.randn_like(h_s)
    elif name == "rotated":
        rotation = torch.linalg.qr(torch.randn(dims[0], dims[0], dtype=torch.float64)).Q
        h_t = h_s @ rotation + 1e-3 * torch.randn_like(h_s)
    elif name == "biased":
        h_s, h_t = h_s + 30, h_t + 30
    return h_s, h_t


@every(variants=True, backends=True)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_error_budget(loss: Loss, options: dict, dtype: torch.dtype) -> None:
    triton = options.get("backend") == "triton"
    if triton and dtype != torch.float32:
        return  # every backend gets float32; the interpreter is slow
    names = ("independent", "converged", "rotated", "biased")
    for name in names[1::2] if triton else names:  # the interpreter, where digits are lost
        torch.manual_seed(0)
        stays_within_its_budget(loss, options, name, dtype)


def stays_within_its_budget(loss: Loss, options: dict, name: str, dtype: torch.dtype) -> None:
    """The budget is the error of the reference in the same input precision, computed in float32."""
    n = 66 if options.get("backend") == "triton" else 96  # two blocks of products, nearly one
    h_s, h_t = scenario(name, n, (16, 16))
    h_s, h_t = h_s.to(dtype), h_t.to(dtype)
    edge_index = torch.randint(0, n, (2, 5 * n))
    naive = {**options, "backend": "reference"} if loss.backends else options
    truth, true_gradient = value_and_gradient(
        lambda h: loss.call(h, h_t.double(), edge_index, **naive), h_s.double()
    )
    budget, gradient_budget = (
        relative_error(a, b)
        for a, b in zip(
            value_and_gradient(
                lambda h: loss.call(h, h_t.float(), edge_index, **naive), h_s.float()
            ),
            (truth, true_gradient),
            strict=True,
        )
    )
    # In a mean, errors cancel by luck. So the scale to judge it by is the errors before the mean.
    rows, true_rows = (
        loss.rows(s, t, edge_index, **naive).detach()
        for s, t in ((h_s.float(), h_t.float()), (h_s.double(), h_t.double()))
    )
    budget += relative_error(rows, true_rows)
    # A gradient has the dtype of its input, rounded once. The scale prevents underflow.
    largest = float(true_gradient.abs().max())
    scale = 1 / max(largest, 1e-25)
    value, gradient = value_and_gradient(
        lambda h: scale * loss.call(h, h_t, edge_index, **options), h_s
    )
    value, gradient = value.double() / scale, gradient.double() / scale
    rounding = torch.finfo(dtype).eps
    # A GPU's exponentials and roots are one or two roundings less accurate.
    factor = 3 if options.get("backend") == "triton" else 2
    assert relative_error(value, truth) <= factor * budget + 1e-6
    if largest < 1e-25:
        # It is 0, up to the rounding of float64, and no error is relative to that.
        plain = value_and_gradient(lambda h: loss.call(h, h_t, edge_index, **options), h_s)[1]
        assert plain.abs().max() <= 1e-6
        return
    assert relative_error(gradient, true_gradient) <= factor * gradient_budget + rounding + 1e-5


def test_the_reference_is_as_good_as_plain_torch() -> None:
    """The budget above means something only if the reference is not itself a bad float32."""
    h_s, h_t = torch.randn(2, 96, 16, dtype=torch.float64).unbind()
    p, q = F.normalize(h_s.float()), F.normalize(h_t.float())
    truth = G.gcrd_loss(h_s, h_t, backend="reference")
    plain = F.cross_entropy(p @ q.T / 0.075, torch.arange(96))
    ours = G.gcrd_loss(h_s.float(), h_t.float(), backend="reference")
    assert relative_error(ours, truth) <= 2 * relative_error(plain, truth) + 1e-7


@pytest.mark.parametrize("size", [1e-1, 1e-3, 1e-4, 1e-5])
def test_kd_of_nearly_equal_logits(size: float) -> None:
    z_t = torch.randn(500, 10)
    z_s = (z_t + size * torch.randn(500, 10)).requires_grad_()
    rows = G.kd_loss(z_s, z_t, reduction="none")
    truth = G.kd_loss(z_s.double(), z_t.double())
    assert (rows >= 0).all()
    assert relative_error(rows.mean(), truth) < 1e-6
    rows.mean().backward()
    true_gradient = value_and_gradient(lambda z: G.kd_loss(z, z_t.double()), z_s.double())[1]
    assert relative_error(z_s.grad, true_gradient) < 1e-6


@pytest.mark.parametrize("noise", [1e-2, 1e-4, 1e-5])
@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("dims", [(32, 32), (32, 48)])
def test_global_lsp_near_zero(noise: float, rotated: bool, dims: tuple[int, int]) -> None:
    """The moments must keep their digits as the student approaches the teacher, turned or not."""
    h_s = torch.randn(600, dims[0], dtype=torch.float64)
    target = F.pad(h_s, (0, dims[1] - dims[0]))
    if rotated:
        target = target @ torch.linalg.qr(torch.randn(dims[1], dims[1], dtype=torch.float64)).Q
    h_t = (target + noise * torch.randn_like(target)).float()
    h_s = h_s.float()
    truth = G.global_lsp_loss(h_s.double(), h_t.double(), backend="reference")
    naive = G.global_lsp_loss(h_s, h_t, backend="reference")
    ours = G.global_lsp_loss(h_s, h_t)
    assert ours >= 0
    assert relative_error(ours, truth) <= 2 * relative_error(naive, truth) + 1e-6


def test_l2_lsp_at_scale_100_is_finite_and_right() -> None:
    h_s, h_t = 100 * torch.randn(50, 16), 100 * torch.randn(50, 16)
    edge_index = torch.randint(0, 50, (2, 300))
    truth, true_gradient = value_and_gradient(
        lambda h: G.lsp_loss(h, h_t.double(), edge_index, kernel="l2"), h_s.double()
    )
    for backend in ("reference", "chunked"):
        value, gradient = value_and_gradient(
            lambda h, b=backend: G.lsp_loss(h, h_t, edge_index, kernel="l2", backend=b), h_s
        )
        assert relative_error(value, truth) < 1e-5
        assert relative_error(gradient, true_gradient) < 1e-4


@pytest.mark.parametrize("temperature", [1e-3, 1e-2, 0.075, 10.0])
def test_gcrd_at_extreme_temperatures(temperature: float) -> None:
    h_s, h_t = torch.randn(64, 8), torch.randn(64, 8)
    truth = G.gcrd_loss(h_s.double(), h_t.double(), temperature=temperature)
    value, gradient = value_and_gradient(
        lambda h: G.gcrd_loss(h, h_t, temperature=temperature), h_s
    )
    assert relative_error(value, truth) < 1e-5
    assert gradient.isfinite().all()
    tight = G.gcrd_loss(h_t, h_t, temperature=0.02, backend="chunked")
    exact = G.gcrd_loss(h_t.double(), h_t.double(), temperature=0.02)
    assert relative_error(tight, exact) < 1e-3  # near zero, where 1 + x would swallow x


@pytest.mark.parametrize("backend", ["reference", "chunked"])
@pytest.mark.parametrize("options", [KERNELS[3], {"kernel": "rbf", "gamma": 2.0}], ids=str)
def test_near_pairs_far_from_the_origin(backend: str, options: dict) -> None:
    """Distances by the Gram trick would be wrong by thousands here."""
    base = torch.randn(1, 16)
    h_s = (1000 * base + 0.1 * torch.randn(40, 16)).float()
    h_t = torch.randn(40, 16) / 4
    edge_index = torch.randint(0, 40, (2, 200))
    for function in (
        lambda h, t: G.global_lsp_loss(h, t, **options, backend=backend),
        lambda h, t: G.lsp_loss(h, t, edge_index, **options, backend=backend),
    ):
        truth, true_gradient = value_and_gradient(
            lambda h, f=function: f(h, h_t.double()), h_s.double()
        )
        value, gradient = value_and_gradient(lambda h, f=function: f(h, h_t), h_s)
        assert relative_error(value, truth) < 1e-4
        assert relative_error(gradient, true_gradient) < 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("options", [{"kernel": "l2"}, {"kernel": "rbf", "gamma": 0.05}], ids=str)
def test_an_outlier_does_not_blur_the_others(options: dict, dtype: torch.dtype) -> None:
    h_s, h_t = torch.randn(2, 600, 16).unbind()
    h_s[0] = -1e7
    truth, true_gradient = value_and_gradient(
        lambda h: G.global_lsp_loss(h, h_t.double(), **options, backend="reference"), h_s.double()
    )
    value, gradient = value_and_gradient(
        lambda h: G.global_lsp_loss(h, h_t.to(dtype), **options, backend="chunked"), h_s.to(dtype)
    )
    assert relative_error(value, truth) < 1e-5
    assert relative_error(gradient[1:], true_gradient[1:]) < 1e-4


@pytest.mark.parametrize("kernel", ["l2", "rbf"])
@pytest.mark.parametrize("backend", ["reference", "chunked"])
def test_identical_rows_have_subgradient_zero(kernel: str, backend: str) -> None:
    h_s = torch.ones(6, 3, requires_grad=True)
    h_t = torch.randn(6, 3)
    edge_index = torch.tensor([[0, 1, 2, 3, 3], [0, 0, 2, 4, 4]])  # self loops, a duplicate
    for value in (
        G.global_lsp_loss(h_s, h_t, kernel=kernel, backend=backend),
        G.lsp_loss(h_s, h_t, edge_index, kernel=kernel, backend=backend),
    ):
        (gradient,) = torch.autograd.grad(value, h_s)
        assert (gradient == 0).all()


def test_rbf_warns_where_it_saturates_and_the_median_helps() -> None:
    h_s, h_t = torch.randn(200, 128), torch.randn(200, 128)
    edge_index = torch.randint(0, 200, (2, 900))
    for call in (
        lambda **o: G.global_lsp_loss(h_s, h_t, kernel="rbf", **o),
        lambda **o: G.lsp_loss(h_s, h_t, edge_index, kernel="rbf", **o),
    ):
        with pytest.warns(UserWarning, match="gamma='median'"):
            blind = call()
        assert call(gamma="median") > 1e-6
        assert blind < call(gamma="median")


def test_fitnet_and_attention_ignore_the_scale_of_what_they_normalise() -> None:
    h_s, h_t = torch.randn(2, 20, 6).unbind()
    for scale in (1e-25, 1e25):
        torch.testing.assert_close(G.fitnet_loss(scale * h_s, h_t), G.fitnet_loss(h_s, h_t))
        torch.testing.assert_close(
            G.attention_transfer_loss(scale * h_s, h_t), G.attention_transfer_loss(h_s, h_t)
        )


@pytest.mark.parametrize("scale", [1.0, 20.0, 1e3, 1e4])
def test_large_logits_and_similarities_stay_within_plain_torchs_error(scale: float) -> None:
    z_s, z_t = (scale * torch.randn(2, 200, 10, dtype=torch.float64)).unbind()
    edge_index = torch.randint(0, 200, (2, 1500))

    def plain_kd(z: Tensor, teacher: Tensor) -> Tensor:
        return F.kl_div(z.log_softmax(1), teacher.softmax(1), reduction="batchmean")

    def kd(z: Tensor, teacher: Tensor) -> Tensor:
        return G.kd_loss(z, teacher, temperature=1.0)

    truth, true_gradient = value_and_gradient(lambda z: plain_kd(z, z_t), z_s)
    budgets, errors = (
        [
            relative_error(got, wanted)
            for got, wanted in zip(
                value_and_gradient(lambda z, f=f: f(z, z_t.float()), z_s.float()),
                (truth, true_gradient),
                strict=True,
            )
        ]
        for f in (plain_kd, kd)
    )
    assert all(e <= 4 * b + 3e-7 for e, b in zip(errors, budgets, strict=True)), (errors, budgets)
    for kernel in ("linear", "l2"):
        truth, true_gradient = value_and_gradient(
            lambda h, k=kernel: G.lsp_loss(h, z_t, edge_index, kernel=k), z_s
        )
        value, gradient = value_and_gradient(
            lambda h, k=kernel: G.lsp_loss(h, z_t.float(), edge_index, kernel=k), z_s.float()
        )
        assert relative_error(value, truth) < 1e-5
        assert relative_error(gradient, true_gradient) < 1e-4


def test_saturation_is_warned_of_in_one_text() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        for _ in range(5):
            G.global_lsp_loss(torch.randn(20, 64), 3 * torch.randn(20, 64), kernel="rbf")
    assert len(seen) == 1
