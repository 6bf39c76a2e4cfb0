"""Losses on features: agreement with the released code, retyped, and each loss's own cases."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import graphkd
import graphkd.functional as G


def pair(dim_s: int = 6, dim_t: int = 6, n: int = 30) -> tuple[Tensor, Tensor]:
    h_s = torch.randn(n, dim_s, dtype=torch.float64, requires_grad=True)
    return h_s, torch.randn(n, dim_t, dtype=torch.float64)


def agree(ours: Tensor, theirs: Tensor, *inputs: Tensor) -> None:
    """Values and gradients agree to 1e-9."""
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad(ours, inputs),
        torch.autograd.grad(theirs, inputs, retain_graph=True),
        rtol=1e-9,
        atol=1e-12,
    )


def test_vid_is_the_released_value() -> None:
    h_s, h_t = pair()
    alpha = torch.randn(6, dtype=torch.float64, requires_grad=True)
    variance = (1 + alpha.exp()).log() + 1e-3
    released = 0.5 * ((h_s - h_t) ** 2 / variance + variance.log())
    agree(G.vid_loss(h_s, h_t, alpha, eps=1e-3), released.mean(), h_s, alpha)


@pytest.mark.parametrize("first", [1e-3, 1.0, 5.0, 1e4])
def test_vid_begins_with_its_variance(first: float) -> None:
    loss = graphkd.VIDLoss(4, 3, init_pred_var=first)
    torch.testing.assert_close(
        F.softplus(loss.alpha) + 1e-5, torch.full((3,), first), rtol=1e-4, atol=0
    )
    before = loss.alpha.clone()
    nn.init.zeros_(loss.alpha)
    loss.reset_parameters()
    assert torch.equal(loss.alpha, before)
    assert f"init_pred_var={first}" in repr(loss)


def test_vid_learns_the_variance_of_what_it_cannot_predict() -> None:
    x = torch.randn(4000, 2)
    h_t = torch.stack([x[:, 0], x[:, 1] + 2 * torch.randn(4000)], dim=1)
    loss = graphkd.VIDLoss(2, 2, head="identity")
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        loss(x, h_t).backward()
        optimizer.step()
    sure, unsure = (F.softplus(loss.alpha) + 1e-5).tolist()
    assert sure < 0.1
    assert math.isclose(unsure, 4, rel_tol=0.1)


def test_vid_refuses() -> None:
    h_s, h_t = pair()
    with pytest.raises(TypeError, match="alpha must be a floating-point tensor"):
        G.vid_loss(h_s, h_t, [0.0] * 6)
    with pytest.raises(ValueError, match="each of the teacher's 6 features"):
        G.vid_loss(h_s, h_t, torch.zeros(5))
    with pytest.raises(ValueError, match="above eps"):
        graphkd.VIDLoss(4, 3, init_pred_var=0.1, eps=0.2)
    with pytest.raises(ValueError, match="'regressor', 'linear'"):
        graphkd.VIDLoss(4, 3, head="conv")
    with pytest.raises(ValueError, match="dim_s must be at least 1"):
        graphkd.VIDLoss(0, 3)


@pytest.mark.parametrize("dims", [(6, 6), (6, 9), (9, 4)])
def test_nst_is_the_released_value(dims: tuple[int, int]) -> None:
    h_s, h_t = pair(*dims)
    p, q = F.normalize(h_s.T), F.normalize(h_t.T)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a.unsqueeze(0) * b.unsqueeze(1)).sum(dim=2).pow(2).mean()

    released = kernel(q, q).detach() + kernel(p, p) - 2 * kernel(p, q)
    for backend in ("reference", "chunked"):
        agree(G.nst_loss(h_s, h_t, backend=backend), released, h_s)


def test_nst_by_moments_is_the_dense_value() -> None:
    h_s, h_t = pair(8, 5, n=400)
    for reduction in ("mean", "none"):
        ours, dense = (
            G.nst_loss(h_s, h_t, backend=backend, reduction=reduction)
            for backend in ("chunked", "reference")
        )
        agree(ours if reduction == "mean" else ours.square().sum(),
              dense if reduction == "mean" else dense.square().sum(), h_s)  # fmt: skip


def test_nst_knows_neither_order_nor_scale_nor_sign_of_neurons() -> None:
    h_s, h_t = pair(6, 4)
    moved = h_s[:, torch.randperm(6)] * torch.tensor([1, -2, 3, -0.1, 5, 1e6], dtype=torch.float64)
    torch.testing.assert_close(G.nst_loss(moved, h_t), G.nst_loss(h_s, h_t))
    twice = torch.cat([h_s, h_s], dim=1)
    assert G.nst_loss(twice, h_s.detach()) < 1e-28
    dead = h_s.detach().clone()
    dead[:, 2] = 0
    dead.requires_grad_()
    G.nst_loss(dead, h_t).backward()
    assert (dead.grad[:, 2] == 0).all()


def test_activation_boundaries_are_the_released_value() -> None:
    h_s, h_t = pair()
    h_t[:5] = 0
    for margin in (0.2, 1.0):
        released = ((h_s + margin) ** 2 * ((h_s > -margin) & (h_t <= 0)).float()
                    + (h_s - margin) ** 2 * ((h_s <= margin) & (h_t > 0)).float())  # fmt: skip
        released = released.abs().sum() / 30 / 1000 * 3
        agree(G.ab_loss(h_s, h_t, margin=margin) * 3 / 1000, released, h_s)


def test_activation_boundaries_refuse_heads_that_end_in_a_relu() -> None:
    for head in ("mlp", "gcn"):
        with pytest.raises(ValueError, match="ends in a ReLU"):
            graphkd.ABLoss(4, 6, head=head)
    connector = nn.Sequential(nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6)), nn.Identity()
    loss = graphkd.ABLoss(4, 6, head=connector)
    h_s, h_t = torch.randn(20, 4), torch.randn(20, 6)
    torch.testing.assert_close(loss(h_s, h_t), G.ab_loss(connector[0](h_s), h_t))


def test_an_infinite_teacher_has_no_boundary() -> None:
    h_s, h_t = pair()
    h_t[3, 2] = torch.inf
    assert G.ab_loss(h_s, h_t).isnan()


@pytest.mark.parametrize("p", [1, 2])
def test_factor_transfer_is_the_released_value(p: int) -> None:
    h_s, h_t = pair()
    gap = F.normalize(h_s) - F.normalize(h_t)
    if p == 1:
        agree(G.factor_transfer_loss(h_s, h_t), F.l1_loss(gap, torch.zeros_like(gap)) * 6, h_s)
    else:
        rows = G.factor_transfer_loss(h_s, h_t, p=2, reduction="none")
        agree(rows.square().mean() / 6, gap.pow(2).mean(), h_s)


def test_equal_factors_have_no_gradient() -> None:
    h_s, _ = pair()
    for p in (1, 2):
        value = G.factor_transfer_loss(h_s, h_s.detach(), p=p)
        (gradient,) = torch.autograd.grad(value, h_s)
        assert value == 0
        assert (gradient == 0).all()


def test_fsp_is_the_released_value() -> None:
    a, t_a = pair(5, 5)
    b, t_b = pair(3, 3)

    def released(rows: slice) -> Tensor:
        flows = [
            (x[rows].T.unsqueeze(0) * y[rows].T.unsqueeze(1)).mean(dim=-1)
            for x, y in ((a, b), (t_a, t_b))
        ]
        return (flows[0] - flows[1]).pow(2).mean()

    order = torch.randperm(30)
    for backend in ("reference", "chunked"):
        agree(G.fsp_loss((a, b), (t_a, t_b), backend=backend), released(slice(None)), a, b)
        # Three graphs of unequal size, then their nodes in a random order, with odd ids.
        batch = torch.tensor([9] * 4 + [-2] * 16 + [70] * 10)
        wanted = (released(slice(0, 4)) + released(slice(4, 20)) + released(slice(20, 30))) / 3
        ours = G.fsp_loss(
            (a[order], b[order]), (t_a[order], t_b[order]), batch[order], backend=backend
        )
        agree(ours, wanted, a, b)


def test_fsp_where_only_one_layer_learns() -> None:
    a, t_a = pair(5, 5)
    b, t_b = pair(3, 3)
    for first, second, learns in ((a.detach(), b, b), (a, b.detach(), a)):
        values = [
            G.fsp_loss((first, second), (t_a, t_b), backend=backend)
            for backend in ("chunked", "reference")
        ]
        agree(*values, learns)


def test_fsp_keeps_its_digits_near_the_teacher() -> None:
    t_a, t_b = torch.randn(2, 3000, 4)
    a, b = (t + 1e-5 * torch.randn_like(t) for t in (t_a, t_b))
    truth = G.fsp_loss((a.double(), b.double()), (t_a.double(), t_b.double()), backend="reference")
    torch.testing.assert_close(G.fsp_loss((a, b), (t_a, t_b)).double(), truth, rtol=1e-4, atol=0)


def test_fsp_refuses() -> None:
    a, t_a = pair(5, 5)
    b, t_b = pair(3, 4)
    with pytest.raises(ValueError, match=r"h_s\[1\] and h_t\[1\].*Project the student's layer"):
        G.fsp_loss((a, b), (t_a, t_b))
    with pytest.raises(ValueError, match="two layers; got 3"):
        G.fsp_loss((a, a, a), (t_a, t_a, t_a))
    with pytest.raises(TypeError, match="first layer, second layer"):
        G.fsp_loss(a, t_a)
    with pytest.raises(ValueError, match=r"h_s\[0\] and h_s\[1\] must have one row per node"):
        G.fsp_loss((a, b[:9]), (t_a, t_b[:9, :3]))
    with pytest.raises(ValueError, match="one entry per row"):
        G.fsp_loss((a, a), (t_a, t_a), torch.zeros(3, dtype=torch.long))


@pytest.mark.parametrize("head", ["regressor", "linear", "mlp", "gcn"])
def test_vid_with_each_head(head: str) -> None:
    loss = graphkd.VIDLoss(4, 6, head=head)
    h_s, h_t, edge_index = torch.randn(20, 4), torch.randn(20, 6), torch.randint(0, 20, (2, 50))
    graph = (edge_index,) if head == "gcn" else ()
    value = loss(h_s, h_t, *graph, index=torch.arange(9))
    value.backward()
    assert value.isfinite()
    assert all(p.grad is not None for p in loss.parameters())
