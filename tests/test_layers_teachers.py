"""MultiTeacherLoss: its weights, their limits, and agreement with MSKD's released code."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck

import graphkd.functional as G
from graphkd import GCRDLoss, KDLoss, LayerwiseLoss, LSPLoss, MultiTeacherLoss
from tests.oracles.several.layerwise import attention
from tests.oracles.several.multi_teacher import mixed_kd


def logits(n: int = 7, teachers: int = 3) -> tuple[Tensor, list[Tensor]]:
    z_s, *z_t = torch.randn(teachers + 1, n, 4, dtype=torch.float64).unbind()
    return z_s.requires_grad_(), [z.requires_grad_() for z in z_t]


def kd(*_: int) -> KDLoss:
    return KDLoss(reduction="none")


@pytest.mark.parametrize("entropy", [0.0, 0.3])
def test_attention_matches_the_oracle(entropy: float) -> None:
    z_s, z_t = logits()
    loss = MultiTeacherLoss(kd, 4, [4, 4, 4], entropy=entropy, reduction="none").double()
    heads = loss.attention
    alpha = attention([z_s], z_t, [*heads.queries], [*heads.keys])[:, 0]
    rows = mixed_kd(z_s, z_t, alpha, entropy)
    torch.testing.assert_close(loss(z_s, z_t), rows)
    index = torch.tensor([5, 0, 0])
    torch.testing.assert_close(loss(z_s, z_t, index=index), rows[index])
    inputs = [z_s, *loss.parameters()]
    weights = torch.rand(7, dtype=torch.float64)
    for one, two in zip(
        torch.autograd.grad((weights * loss(z_s, z_t)).sum(), inputs),
        torch.autograd.grad((weights * rows).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, two)
    loss.reduction = "mean"
    loss(z_s, z_t).backward()
    assert all(z.grad is None for z in z_t)


def test_gradcheck_of_all_parameters() -> None:
    z_s, z_t = logits(5)
    for weights in ("attention", "global"):
        loss = MultiTeacherLoss(
            kd, 4, [4, 4, 4], weights=weights, entropy=0.2, attention_dim=2
        ).double()
        names = [name for name, _ in loss.named_parameters()]

        def value(z: Tensor, *parameters: Tensor, loss=loss, names=names) -> Tensor:
            named = dict(zip(names, parameters, strict=True))
            return torch.func.functional_call(loss, named, (z, z_t))

        assert gradcheck(value, (z_s, *loss.parameters()))


def train(loss: MultiTeacherLoss, z_s: Tensor, z_t: list[Tensor]) -> Tensor:
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
    for _ in range(600):
        optimizer.zero_grad()
        loss(z_s.detach(), z_t).backward()
        optimizer.step()
    return loss.scores.detach().softmax(0)


def test_global_weights_settle_at_the_softmin_of_the_losses() -> None:
    torch.manual_seed(0)
    z_s, z_t = logits(30)
    each = torch.stack([G.kd_loss(z_s, z) for z in z_t]).detach()
    for entropy in (0.1, 1.0):
        loss = MultiTeacherLoss(kd, 4, [4, 4, 4], weights="global", entropy=entropy).double()
        expected = (-each / entropy).softmax(0)
        torch.testing.assert_close(train(loss, z_s, z_t), expected, rtol=1e-3, atol=1e-4)
    alone = train(MultiTeacherLoss(kd, 4, [4, 4, 4], weights="global").double(), z_s, z_t)
    assert alone.argmax() == each.argmin()
    assert alone.max() > 0.9


def test_the_mean_of_equal_weights_costs_nothing() -> None:
    z_s, z_t = logits()
    fresh = MultiTeacherLoss(kd, 4, [4, 4, 4], weights="global", entropy=2.0).double()
    mean = MultiTeacherLoss(KDLoss(), weights=None)(z_s, z_t)
    torch.testing.assert_close(fresh(z_s, z_t), mean)
    torch.testing.assert_close(mean, sum(G.kd_loss(z_s, z) for z in z_t) / 3)
    scalar = MultiTeacherLoss(KDLoss(), 4, [4] * 3, entropy=0.5).double()
    by_node = MultiTeacherLoss(kd, 4, [4] * 3, entropy=0.5).double()
    by_node.load_state_dict(scalar.state_dict())
    gap = (scalar(z_s, z_t) - by_node(z_s, z_t)).abs()
    _, alpha = scalar.attention([z_s], z_t, None)
    each = torch.stack([G.kd_loss(z_s, z, reduction="none") for z in z_t], 1)
    covariance = (alpha.squeeze(1) * (each - each.mean(0))).sum(1).mean()
    torch.testing.assert_close(gap, covariance.abs())


def test_teachers_share_a_temperature() -> None:
    z_s, z_t = logits()
    each = torch.linspace(1, 4, 7, dtype=torch.float64)
    constant = MultiTeacherLoss(KDLoss(each), weights=None)
    expected = sum(G.kd_loss(z_s, z, temperature=each) for z in z_t) / 3
    torch.testing.assert_close(constant(z_s, z_t), expected)
    learned = nn.Parameter(torch.tensor(2.0))
    loss = MultiTeacherLoss(lambda *_: KDLoss(learned), 4, [4] * 3, weights=None)
    assert list(loss.parameters()) == [learned]
    loss(z_s, z_t).backward()
    assert learned.grad != 0


def test_teachers_of_different_widths() -> None:
    h_s = torch.randn(9, 4, requires_grad=True)
    h_t = {"gcn": torch.randn(9, 5), "gat": torch.randn(9, 7)}
    loss = MultiTeacherLoss(
        lambda s, t: GCRDLoss(s, t, 3, head="linear", reduction="none"), 4, {"gcn": 5, "gat": 7}
    )
    loss(h_s, h_t).backward()
    assert all(p.grad is not None for p in loss.parameters())
    for same in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(same(h_s, h_t), loss(h_s, h_t))
        assert repr(same) == repr(loss)
    fixed = MultiTeacherLoss(
        lambda s, t: GCRDLoss(s, t, 3, head="linear"), 4, {"gcn": 5, "gat": 7}, weights=[0.3, 0.7]
    )
    gcn, gat = fixed.losses
    expected = 0.3 * gcn(h_s, h_t["gcn"]) + 0.7 * gat(h_s, h_t["gat"])
    torch.testing.assert_close(fixed(h_s, h_t), expected)
    loss.reset_parameters()
    assert not torch.equal(loss(h_s, h_t), same(h_s, h_t))


def test_several_layers_of_several_teachers() -> None:
    h_s = [torch.randn(9, 4), torch.randn(9, 3)]
    h_t = [[torch.randn(9, 5), torch.randn(9, 6)], [torch.randn(9, 7), torch.randn(9, 8)]]
    loss = LayerwiseLoss(
        lambda dim_s, dims_t: MultiTeacherLoss(lambda *_: LSPLoss(reduction="none"), dim_s, dims_t),
        dims_s=[4, 3],
        dims_t=[[5, 6], [7, 8]],
    )
    edges = torch.randint(0, 9, (2, 30))
    value = loss(h_s, h_t, edge_index=edges)
    expected = [
        inner(s, t, edge_index=edges) for inner, s, t in zip(loss.losses, h_s, h_t, strict=True)
    ]
    torch.testing.assert_close(value, sum(expected) / 2)


def released_weights(logits: Tensor, teachers: list[Tensor]) -> Tensor:
    """The weights that the released code computes once, before its factor 7 and its rounding."""
    alpha = torch.stack([logits.t().mm(z).flatten().mean() for z in teachers])
    return torch.softmax(alpha / alpha.sum(), 0)


def released_divergence(h_s: Tensor, h_t: Tensor, edge_index: Tensor) -> Tensor:
    """The released KL of softmaxes along edges, of exp(-distance / 100) in the 1-norm."""
    src, dst = edge_index
    share = []
    for h in (h_s, h_t):
        exp = torch.exp(-(h[src] - h[dst]).abs().sum(-1) / 100).exp()
        share.append(exp / exp.new_zeros(h.size(0)).index_add(0, dst, exp)[dst])
    each = share[1] * (share[1].log() - share[0].log())
    return each.new_zeros(h_s.size(0)).index_add(0, dst, each).mean()


def test_mskds_released_value() -> None:
    """Every node has a neighbour, because the released code adds self loops."""
    n = 12
    h_s = torch.randn(n, 4, dtype=torch.float64, requires_grad=True)
    h_t = [torch.randn(n, d, dtype=torch.float64) for d in (5, 6, 3)]
    z_s, z_t = logits(n)
    loops = torch.arange(n).expand(2, -1)
    edges = torch.cat([torch.randint(0, n, (2, 40)), loops], dim=1)
    weights = released_weights(z_s.detach(), z_t).detach()

    def nearness(x: Tensor, y: Tensor) -> Tensor:
        return torch.exp(-(x - y).abs().sum(-1) / 100)

    lsp = LSPLoss(kernel=nearness, backend="reference")
    ours = MultiTeacherLoss(lsp, weights=weights.tolist())(h_s, h_t, edge_index=edges)
    theirs = sum(w * released_divergence(h_s, h, edges) for w, h in zip(weights, h_t, strict=True))
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours, h_s), torch.autograd.grad(theirs, h_s))
    # The released weights use only sums over classes, and are close if these sums agree.
    sums = torch.stack([(z_s.sum(1) * z.sum(1)).sum() for z in z_t])
    torch.testing.assert_close(weights, torch.softmax(sums / sums.sum(), 0).detach())


def test_it_compiles() -> None:
    torch._dynamo.reset()
    z_s, z_t = logits(24)
    mask = torch.arange(24) % 3 == 0
    for weights, index in (("attention", mask), ("global", None)):
        loss = MultiTeacherLoss(kd, 4, [4] * 3, weights=weights, entropy=0.1).double()
        compiled = torch.compile(loss, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(z_s, z_t, index=index), loss(z_s, z_t, index=index))


def test_edges_of_the_range() -> None:
    loss = MultiTeacherLoss(kd, 4, [4, 4], entropy=0.1)
    for n in (0, 1, 5):
        z_s = torch.zeros(n, 4, dtype=torch.float16, requires_grad=True)
        value = loss(z_s, [torch.randn(n, 4) for _ in range(2)])
        value.backward()
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert n > 0 or value == 0
        assert z_s.grad.isfinite().all()
    assert isinstance(loss.attention, nn.Module)


@pytest.mark.parametrize("inner", [kd, lambda dim_s, dim_t: KDLoss()])
def test_without_rows_entropy_counts_for_nothing(inner) -> None:
    loss = MultiTeacherLoss(inner, 4, [4, 4], weights="global", entropy=0.5)
    nn.init.constant_(loss.scores[0], 1.0)
    z_s, z_t = torch.randn(5, 4), [torch.randn(5, 4)] * 2
    for n, index in ((0, None), (5, torch.zeros(5, dtype=torch.bool))):
        value = loss(z_s[:n], [z[:n] for z in z_t], index=index)
        value.backward()
        assert value == 0
        assert not loss.scores.grad.any()
