"""SP against the released code, and CKA against dense HSIC: values, gradients, digits, laws."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import graphkd.functional as G
from tests.test_accuracy import relative_error, value_and_gradient
from tests.test_laws import rotation


def released_sp(h_s: Tensor, h_t: Tensor) -> Tensor:
    gap = F.normalize(h_t @ h_t.T) - F.normalize(h_s @ h_s.T)
    return gap.square().sum() / len(h_s) ** 2


def dense_cka(h_s: Tensor, h_t: Tensor) -> Tensor:
    """1 − HSIC(K, L)/√(HSIC(K, K) HSIC(L, L)) with HSIC(K, L) = tr(K H L H)."""
    n = len(h_s)
    h = torch.eye(n, dtype=h_s.dtype) - 1 / n
    k, m = h @ (h_s @ h_s.T) @ h, h @ (h_t @ h_t.T) @ h
    return 1 - (k * m).sum() / ((k * k).sum() * (m * m).sum()).sqrt()


PAIRS = ((G.similarity_preserving_loss, released_sp), (G.cka_loss, dense_cka))
BOTH = pytest.mark.parametrize(("ours", "dense"), PAIRS, ids=["sp", "cka"])


@BOTH
@pytest.mark.parametrize("dims", [(6, 6), (5, 9), (9, 4), (40, 30)])
@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_values_and_gradients_are_those_of_the_dense_form(ours, dense, dims, shift) -> None:
    h_s, h_t = (torch.randn(25, d, dtype=torch.float64) + shift for d in dims)
    expected = value_and_gradient(lambda h: dense(h, h_t), h_s)
    torch.testing.assert_close(
        value_and_gradient(lambda h: ours(h, h_t), h_s), expected, rtol=1e-8, atol=1e-12
    )
    index = torch.tensor([3, 3, 17, 0, 8, 21])
    torch.testing.assert_close(ours(h_s, h_t, index=index), dense(h_s[index], h_t[index]))
    value = ours(h_s, h_t)
    torch.testing.assert_close(ours(h_s, h_t, reduction="none").mean(), value)
    torch.testing.assert_close(ours(h_s, h_t, reduction="sum"), 25 * value)


@BOTH
def test_rectified_embeddings_with_zero_rows(ours, dense) -> None:
    h_s, h_t = (torch.randn(30, d, dtype=torch.float64).relu() for d in (3, 4))
    assert (h_s == 0).all(dim=1).any()
    torch.testing.assert_close(ours(h_s, h_t), dense(h_s, h_t))
    assert value_and_gradient(lambda h: ours(h, h_t), h_s)[1].isfinite().all()


@BOTH
@pytest.mark.parametrize("noise", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_digits_near_convergence(ours, dense, noise, rotated, dtype) -> None:
    h_s = torch.randn(200, 12, dtype=torch.float64)
    h_t = h_s @ rotation(12) if rotated else h_s
    h_t = (h_t + noise * torch.randn_like(h_t)).to(dtype)
    h_s = h_s.to(dtype)

    def unit(h: Tensor) -> Tensor:  # by differences, unlike the dense forms above
        if dense is released_sp:
            return F.normalize(h @ h.T)
        h = h - h.mean(dim=0)
        return h @ h.T / (h @ h.T).norm()

    factor = 200**-2 if dense is released_sp else 0.5
    target = unit(h_t.double())
    truth, true_gradient = value_and_gradient(
        lambda h: factor * (unit(h) - target).square().sum(), h_s.double()
    )
    value, gradient = value_and_gradient(lambda h: ours(h, h_t), h_s)
    rounding = 1e-6 if dtype == torch.float32 else 1e-9
    # If the student is a turned teacher, terms near 1 cancel to a sum near noise².
    assert relative_error(value, truth) < rounding + (1e-15 / noise**2 if rotated else 0)
    assert relative_error(gradient, true_gradient) < max(rounding, 1e-8)
    assert (ours(h_s, h_t, reduction="none") >= 0).all()


@BOTH
@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e5, 1e30])
def test_the_scale_of_a_side_does_not_matter(ours, dense, scale: float) -> None:
    h_s, h_t = torch.randn(20, 5), torch.randn(20, 8)
    torch.testing.assert_close(ours(scale * h_s, h_t), ours(h_s, h_t))
    torch.testing.assert_close(ours(h_s, scale * h_t), ours(h_s, h_t))
    wide = 1e200 * h_s.double()
    torch.testing.assert_close(ours(wide, h_t), ours(h_s.double(), h_t))
    same = ours(-2 * h_s, h_s)
    assert 0 <= same < 1e-15


@BOTH
def test_rotations_do_not_matter(ours, dense) -> None:
    h_s, h_t = torch.randn(20, 5, dtype=torch.float64), torch.randn(20, 8, dtype=torch.float64)
    torch.testing.assert_close(ours(h_s @ rotation(5), h_t @ rotation(8)), ours(h_s, h_t))
    assert ours(h_s @ rotation(5), h_s) < 1e-14


def test_sp_falls_as_1_over_n_and_keeps_the_scale_of_single_rows() -> None:
    h_s, h_t = torch.randn(50, 5, dtype=torch.float64), torch.randn(50, 5, dtype=torch.float64)
    assert G.similarity_preserving_loss(h_s, h_t) < 4 / 50
    twice = G.similarity_preserving_loss(h_s.repeat(2, 1), h_t.repeat(2, 1))
    torch.testing.assert_close(2 * twice, G.similarity_preserving_loss(h_s, h_t))
    one = h_s.clone()
    one[0] *= 10
    assert not torch.isclose(G.similarity_preserving_loss(one, h_s), h_s.new_zeros(()))


def test_cka_does_not_see_shifts_even_far_ones() -> None:
    h_s, h_t = torch.randn(40, 6), torch.randn(40, 6)
    exact = G.cka_loss(h_s.double(), h_t.double())
    torch.testing.assert_close(G.cka_loss(h_s.double() + 1e6, h_t).float(), exact.float())
    assert 0 < exact < 1


def test_cka_is_global_lsp_of_scaled_rows() -> None:
    h = [torch.randn(30, d, dtype=torch.float64) for d in (4, 6)]
    h = [x - x.mean(dim=0) for x in h]
    s, t = (x / (x.T @ x).norm().sqrt() for x in h)
    lsp = G.global_lsp_loss(s, t, kernel="linear")
    torch.testing.assert_close(G.cka_loss(*h), 30**2 / 2 * lsp)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_cka_of_a_constant_side(dtype: torch.dtype) -> None:
    constant = torch.full((7, 3), 0.1, dtype=dtype)
    varied = torch.randn(7, 4, dtype=dtype)
    for h_s, h_t, expected in (
        (constant, varied, 1.0),
        (varied, constant, 1.0),
        (constant, 3 * constant, 0.0),
        (varied[:1], varied[:1], 0.0),
    ):
        value, gradient = value_and_gradient(lambda h, t=h_t: G.cka_loss(h, t), h_s)
        torch.testing.assert_close(value, torch.tensor(expected, dtype=dtype))
        assert gradient.isfinite().all()
        if h_s is constant:
            assert (gradient == 0).all()


def test_the_bias_of_cka_with_few_rows() -> None:
    for n, d_s, d_t in ((4000, 16, 64), (2000, 32, 32)):
        h_s, h_t = torch.randn(n, d_s), torch.randn(n, d_t)
        torch.testing.assert_close(
            1 - G.cka_loss(h_s, h_t), torch.tensor((d_s * d_t) ** 0.5 / n), rtol=0.2, atol=0
        )
    assert G.cka_loss(torch.randn(16, 512), torch.randn(16, 512)) < 0.1


def unbiased_hsic(k: Tensor, m: Tensor) -> Tensor:
    """The estimate of Song et al., equation 5, for matrices without their diagonals."""
    n = len(k)
    k, m = (x - x.diag().diag() for x in (k, m))
    middle = k.sum() * m.sum() / ((n - 1) * (n - 2))
    return ((k * m).sum() + middle - 2 / (n - 2) * (k @ m).sum()) / (n * (n - 3))


@pytest.mark.parametrize("dims", [(6, 6), (5, 9), (40, 30)])
def test_debiased_cka_is_that_of_the_unbiased_estimates(dims: tuple[int, int]) -> None:
    h_s, h_t = (torch.randn(25, d, dtype=torch.float64) + 2 for d in dims)

    def dense(h: Tensor) -> Tensor:
        k, m = h @ h.T, h_t @ h_t.T
        scale = (unbiased_hsic(k, k) * unbiased_hsic(m, m)).sqrt()
        return 1 - unbiased_hsic(k, m) / scale

    torch.testing.assert_close(
        value_and_gradient(lambda h: G.cka_loss(h, h_t, debiased=True), h_s),
        value_and_gradient(dense, h_s),
        rtol=1e-8,
        atol=1e-12,
    )


def test_debiased_cka_of_unrelated_embeddings_is_0_on_average() -> None:
    losses = [
        G.cka_loss(torch.randn(16, 64), torch.randn(16, 64), debiased=True) for _ in range(200)
    ]
    assert abs(torch.stack(losses).mean() - 1) < 0.02
    assert G.cka_loss(torch.randn(16, 64), torch.randn(16, 64)) < 0.4


def test_debiased_cka_of_rows_equally_far_apart_is_that_of_equal_rows() -> None:
    varied = torch.randn(6, 4)
    for few in ((torch.randn(3, 5), torch.randn(3, 5)), (torch.eye(6), 3 * torch.eye(6) + 1)):
        assert G.cka_loss(*few, debiased=True) == 0
    value, gradient = value_and_gradient(
        lambda h: G.cka_loss(h, varied, debiased=True), torch.eye(6).double()
    )
    torch.testing.assert_close(value, torch.ones_like(value))
    assert (gradient == 0).all()
