"""PKT, RKD and correlation congruence against released code, retyped."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import graphkd
import graphkd.functional as G
from graphkd.functional.pairs.rkd import coincidences
from graphkd.ops.chunked.statistics import centre_of

BACKENDS = ("reference", "chunked")
EACH = (
    G.pkt_loss,
    G.rkd_distance_loss,
    G.rkd_angle_loss,
    G.correlation_congruence_loss,
)


def released_pkt(s: Tensor, t: Tensor, norm_eps: float = 0.0, eps: float = 1e-7) -> Tensor:
    def rows(h: Tensor) -> Tensor:
        h = h / (h.norm(dim=1, keepdim=True) + norm_eps)
        a = (h @ h.T + 1) / 2
        return a / a.sum(1, keepdim=True)

    p, q = rows(s), rows(t)
    return (q * ((q + eps) / (p + eps)).log()).mean()


def released_distance(s: Tensor, t: Tensor) -> Tensor:
    def rows(h: Tensor) -> Tensor:
        squares = h.square().sum(1)
        d = (squares[:, None] + squares - 2 * h @ h.T).clamp(min=1e-12).sqrt()
        d = d * (1 - torch.eye(len(h), dtype=h.dtype))
        return d / d[d > 0].mean()

    return F.smooth_l1_loss(rows(s), rows(t))


def released_angle(s: Tensor, t: Tensor) -> Tensor:
    def cosines(h: Tensor) -> Tensor:
        ways = F.normalize(h[None] - h[:, None], dim=2)
        return torch.bmm(ways, ways.transpose(1, 2)).flatten()

    return F.smooth_l1_loss(cosines(s), cosines(t))


def released_congruence(s: Tensor, t: Tensor) -> Tensor:
    def correlations(h: Tensor) -> Tensor:
        h = F.normalize(h)
        terms = [0.8**p / math.factorial(p) * (h @ h.T) ** p for p in range(3)]
        return math.exp(-0.8) * sum(terms)

    return F.mse_loss(correlations(s), correlations(t))


RELEASED = dict(
    zip(EACH, (released_pkt, released_distance, released_angle, released_congruence), strict=True)
)


def double(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n", [2, 3, 40])
@pytest.mark.parametrize("function", EACH, ids=lambda f: f.__name__)
def test_released_values_and_gradients(function, n: int, backend: str) -> None:
    h_s, h_t = double(n, 6).requires_grad_(), 3 * double(n, 9) + 1
    factor = n if function is G.pkt_loss else 1
    ours = function(h_s, h_t, backend=backend)
    released = factor * RELEASED[function](h_s, h_t)
    torch.testing.assert_close(ours, released, rtol=1e-7, atol=1e-10)
    gradients = [torch.autograd.grad(value, h_s)[0] for value in (ours, released)]
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("d", [2, 4, 16])
@pytest.mark.parametrize("n", [8, 64, 512])
def test_pkt_is_the_released_value_with_its_epsilon(n: int, d: int, backend: str) -> None:
    """In few dimensions some rows are nearly opposite, where the epsilon matters."""
    h_s, h_t = double(n, d), double(n, d + 1)
    for spread in (0.0, 1e-6, 1e-3):
        for h in (h_s, h_t):
            h[:3] = torch.cat([-h[3:4], -2 * h[4:5], 3 * h[4:5]]) + spread * torch.randn_like(h[:3])
        h_s.requires_grad_()
        ours = G.pkt_loss(h_s, h_t, backend=backend)
        released = n * released_pkt(h_s, h_t)
        torch.testing.assert_close(ours, released, rtol=1e-6, atol=0)
        gradient, wanted = (torch.autograd.grad(value, h_s)[0] for value in (ours, released))
        torch.testing.assert_close(
            gradient, wanted, rtol=1e-5, atol=1e-10 * float(wanted.abs().max())
        )
        h_s = h_s.detach()


def test_the_norm_epsilon_of_the_released_pkt_is_small_where_no_rows_are_opposite() -> None:
    h_s, h_t = double(512, 16).requires_grad_(), double(512, 19)
    values = G.pkt_loss(h_s, h_t), 512 * released_pkt(h_s, h_t, norm_eps=1e-7)
    torch.testing.assert_close(*values, rtol=1e-6, atol=0)
    ours, released = (torch.autograd.grad(value, h_s)[0] for value in values)
    assert (ours - released).norm() < 1e-6 * released.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_pkt_of_the_teacher_itself_is_exactly_0(backend: str, dtype: torch.dtype) -> None:
    h = torch.randn(70, 3, dtype=dtype)
    h[0], h[1] = -h[2], 0
    assert (G.pkt_loss(h, h.clone(), reduction="none", backend=backend) == 0).all()


def test_rkd_is_the_released_sum_of_its_terms() -> None:
    h_s, h_t = double(20, 5), double(20, 7)
    released = 25 * released_distance(h_s, h_t) + 50 * released_angle(h_s, h_t)
    torch.testing.assert_close(G.rkd_loss(h_s, h_t), released, rtol=1e-6, atol=0)
    for weights, term in (((3.0, 0.0), G.rkd_distance_loss), ((0.0, 3.0), G.rkd_angle_loss)):
        torch.testing.assert_close(graphkd.RKDLoss(*weights)(h_s, h_t), 3 * term(h_s, h_t))


@pytest.mark.parametrize("backend", BACKENDS)
def test_identical_rows(backend: str) -> None:
    """They count in the mean of distances, as in the released code, and have no direction."""
    h_s, h_t = double(12, 5), double(12, 7)
    h_s[3], h_s[5], h_t[7], h_t[5] = h_s[4], h_s[4], h_t[8], h_t[4]
    h_s.requires_grad_()
    for function in (G.rkd_distance_loss, G.rkd_angle_loss):
        value = function(h_s, h_t, backend=backend)
        torch.testing.assert_close(value, RELEASED[function](h_s, h_t), rtol=1e-6, atol=0)
        (gradient,) = torch.autograd.grad(value, h_s)
        assert gradient.abs().max() < 1
    torch.testing.assert_close(
        coincidences(h_s.detach(), h_t), torch.tensor(3.0, dtype=torch.float64)
    )


def test_the_centre_of_expanded_rows() -> None:
    """torch's median of them is memory that nobody wrote; here much of that memory is NaN."""
    row = torch.randn(1, 5)
    for kept in range(40):
        blocks = [torch.full((5,), torch.nan) for _ in range(40)]
        del blocks[kept:]
        torch.testing.assert_close(centre_of(row.expand(9, -1)), row[0].double())


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_rows_the_same(backend: str) -> None:
    h_s = torch.ones(6, 3, requires_grad=True)
    for function in EACH:
        (gradient,) = torch.autograd.grad(function(h_s, torch.randn(6, 4), backend=backend), h_s)
        assert gradient.isfinite().all()
        assert gradient.abs().max() < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_antipodal_rows_are_finite_in_pkt(backend: str, dtype: torch.dtype) -> None:
    line = torch.tensor([[1.0], [-2.0], [3.0], [-1.0]], dtype=dtype)
    spread = torch.tensor([[1.0, 0.1], [0.2, 1.0], [1.0, 1.0], [0.3, 2.0]], dtype=dtype)
    for h_s, h_t in ((line, spread), (spread, line), (line, line)):
        h_s = h_s.clone().requires_grad_()
        value = G.pkt_loss(h_s, h_t, backend=backend)
        assert 0 <= value < 20
        assert torch.autograd.grad(value, h_s)[0].abs().max() < 10
    dense = G.pkt_loss(line, spread, backend="reference")
    torch.testing.assert_close(G.pkt_loss(line, spread, backend=backend), dense)


@pytest.mark.parametrize("size", [1e-1, 1e-3, 1e-5])
def test_pkt_of_nearly_equal_rows(size: float) -> None:
    h_t = torch.randn(200, 16)
    h_s = (h_t + size * torch.randn(200, 16)).requires_grad_()
    wide = h_s.detach().double().requires_grad_()
    rows = G.pkt_loss(h_s, h_t, reduction="none")
    truth = G.pkt_loss(wide, h_t.double(), backend="reference")
    torch.testing.assert_close(rows.double().mean(), truth, rtol=1e-5, atol=0)
    gradient, wanted = (
        torch.autograd.grad(value, h)[0].double()
        for value, h in ((rows.mean(), h_s), (truth, wide))
    )
    assert (gradient - wanted).norm() < 1e-5 * wanted.norm()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("function", [G.rkd_distance_loss, G.rkd_angle_loss])
def test_near_rows_far_from_the_origin(function, backend: str) -> None:
    h_s = 1000 * torch.randn(1, 16) + 0.1 * torch.randn(40, 16)
    h_t, wide = torch.randn(40, 16), h_s.double().requires_grad_()
    truth = function(wide, h_t.double(), backend="reference")
    h_s.requires_grad_()
    value = function(h_s, h_t, backend=backend)
    torch.testing.assert_close(value.double(), truth, rtol=1e-5, atol=0)
    gradient, wanted = (
        torch.autograd.grad(v, h)[0].double() for v, h in ((value, h_s), (truth, wide))
    )
    assert (gradient - wanted).norm() < 1e-5 * wanted.norm()


def test_pkt_gradient_of_rows_in_one_direction() -> None:
    """The common part of the rows cancels in the sum over pairs, so the code removes it before."""
    h_s = 1000 * torch.randn(1, 16) + 0.1 * torch.randn(200, 16)
    h_t, wide = torch.randn(200, 16), h_s.double().requires_grad_()
    (wanted,) = torch.autograd.grad(G.pkt_loss(wide, h_t.double(), backend="reference"), wide)
    h_s.requires_grad_()
    (gradient,) = torch.autograd.grad(G.pkt_loss(h_s, h_t), h_s)
    assert (gradient.double() - wanted).norm() < 1e-4 * wanted.norm()


def test_rkd_ignores_scale_shift_and_rotation() -> None:
    h_s, h_t = double(15, 5), double(15, 7)
    turn = torch.linalg.qr(double(5, 5)).Q
    torch.testing.assert_close(G.rkd_loss(7 * h_s @ turn + double(1, 5), h_t), G.rkd_loss(h_s, h_t))
