"""LayerwiseLoss: the pairs of layers, their weights, and SemCKD's released attention."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import gradcheck

import graphkd
import graphkd.functional as G
from graphkd import FitNetLoss, LayerwiseLoss
from graphkd.functional.several.layerwise import cross_attention, resolve_pairs
from tests.oracles.several.layerwise import attention, layerwise

DIMS_S, DIMS_T = [4, 3], [5, 6, 3]


def layers(n: int = 7, dtype: torch.dtype = torch.float64) -> tuple[list[Tensor], list[Tensor]]:
    h_s = [torch.randn(n, d, dtype=dtype, requires_grad=True) for d in DIMS_S]
    return h_s, [torch.randn(n, d, dtype=dtype, requires_grad=True) for d in DIMS_T]


def by_node(dim_s: int, dim_t: int) -> FitNetLoss:
    return FitNetLoss(dim_s, dim_t, reduction="none")


def attentive(**options) -> LayerwiseLoss:
    options = {"loss": by_node, "attention_dim": 8, **options}
    return LayerwiseLoss(dims_s=DIMS_S, dims_t=DIMS_T, pairs="attention", **options).double()


def test_each_pair_has_a_loss_of_its_own() -> None:
    h_s, h_t = layers()
    loss = LayerwiseLoss(FitNetLoss, DIMS_S, DIMS_T, pairs=[(0, 0), (1, -1)]).double()
    one, two = loss.losses
    value = loss(h_s, h_t)
    torch.testing.assert_close(value, (one(h_s[0], h_t[0]) + two(h_s[1], h_t[2])) / 2)
    value.backward()
    assert all(p.grad is not None for p in loss.parameters())
    assert all(h.grad is None for h in h_t)
    weighted = LayerwiseLoss(
        lambda s, t: one if s == 4 else two,
        DIMS_S, DIMS_T, pairs=[(0, 0), (1, 2)], weights=[2, 0.5],
    )  # fmt: skip
    expected = 2 * one(h_s[0], h_t[0]) + two(h_s[1], h_t[2]) / 2
    torch.testing.assert_close(weighted(h_s, h_t), expected)


@pytest.mark.parametrize(
    ("depth", "height", "teachers"),
    [(1, 3, [2]), (2, 4, [1, 3]), (3, 3, [0, 1, 2]), (2, 3, [1, 2]), (4, 2, [0, 0, 1, 1])],
)
def test_uniform_pairs_share_the_depth(depth: int, height: int, teachers: list[int]) -> None:
    pairs = resolve_pairs("loss", "uniform", range(depth), range(height))
    assert pairs == list(enumerate(teachers))


def test_layers_by_name() -> None:
    h_s, h_t = layers()
    named_s, named_t = dict(zip("ab", h_s, strict=True)), dict(zip("xyz", h_t, strict=True))
    dims = dict(zip("ab", DIMS_S, strict=True)), dict(zip("xyz", DIMS_T, strict=True))
    torch.manual_seed(0)
    by_name = LayerwiseLoss(FitNetLoss, *dims, pairs=[("b", "z"), ("a", "x")]).double()
    torch.manual_seed(0)
    by_number = LayerwiseLoss(FitNetLoss, DIMS_S, DIMS_T, pairs=[(1, 2), (0, 0)]).double()
    shuffled = {name: named_t[name] for name in "zxy"}
    torch.testing.assert_close(by_name(named_s, shuffled), by_number(h_s, h_t))
    torch.manual_seed(0)
    names = LayerwiseLoss(by_node, *dims, pairs="attention").double()
    torch.manual_seed(0)
    numbers = LayerwiseLoss(by_node, DIMS_S, DIMS_T, pairs="attention").double()
    torch.testing.assert_close(names(named_s, shuffled), numbers(h_s, h_t))


def test_attention_matches_the_oracle() -> None:
    h_s, h_t = layers()
    loss, index = attentive(), torch.tensor([5, 0, 3])
    alpha = attention(h_s, h_t, [*loss.attention.queries], [*loss.attention.keys])
    every = [(s, t) for s in range(2) for t in range(3)]
    by_pair = iter(
        [inner(h_s[s], h_t[t]) for inner, (s, t) in zip(loss.losses, every, strict=True)]
    )
    rows = layerwise(
        h_s, h_t, pairs=every, weights=alpha.flatten(1) / 2, one=lambda *_: next(by_pair)
    )
    torch.testing.assert_close(loss(h_s, h_t), rows.mean())
    loss.reduction = "none"
    torch.testing.assert_close(loss(h_s, h_t), rows)
    torch.testing.assert_close(loss(h_s, h_t, index=index), rows[index])
    loss.reduction = "sum"
    torch.testing.assert_close(loss(h_s, h_t, index=index), rows[index].sum())
    inputs = [*h_s, *loss.parameters()]
    for one, two in zip(
        torch.autograd.grad(loss(h_s, h_t), inputs),
        torch.autograd.grad(rows.sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, two)
    loss(h_s, h_t).backward()
    assert all(h.grad is None for h in h_t)


def test_a_scalar_loss_is_weighed_by_the_mean_attention() -> None:
    h_s, h_t = layers()
    loss = attentive(loss=lambda *_: graphkd.GlobalLSPLoss())
    _, alpha = loss.attention(h_s, h_t, None)
    expected = sum(
        alpha[:, s, t].mean() * G.global_lsp_loss(h_s[s], h_t[t]) / 2
        for s in range(2)
        for t in range(3)
    )
    torch.testing.assert_close(loss(h_s, h_t), expected)


def test_attention_gradcheck() -> None:
    h_s, h_t = layers(n=5)
    loss = attentive(attention_dim=2)
    names = [name for name, _ in loss.named_parameters()]

    def value(first: Tensor, second: Tensor, *parameters: Tensor) -> Tensor:
        named = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(loss, named, ([first, second], h_t))

    assert gradcheck(value, (*h_s, *loss.parameters()))


def released_semckd(
    h_s: list[Tensor], h_t: list[Tensor], queries: list, keys: list, maps: list
) -> Tensor:
    """The authors' attention over Gram rows and their weighted squared error, for vectors."""
    n = h_s[0].size(0)
    q = torch.stack([F.normalize(m(h @ h.T)) for m, h in zip(queries, h_s, strict=True)], 1)
    k = torch.stack([F.normalize(m(h @ h.T)) for m, h in zip(keys, h_t, strict=True)], 2)
    weight = torch.bmm(q, k).softmax(-1)
    each = torch.stack([
        torch.stack([(maps[s][t](h_s[s]) - h_t[t]).square().mean(1) for t in range(len(h_t))], 1)
        for s in range(len(h_s))
    ], 1)  # fmt: skip
    return (weight * each).sum() / (n * len(h_s))


def test_semckd_is_a_choice_of_parameters() -> None:
    """A linear layer W of the Gram row H h_i equals the linear layer W H of h_i."""
    h_s, h_t = layers(n=6)
    h_t = [h.detach() for h in h_t]

    def mlp() -> nn.Sequential:
        return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8)).double()

    class Mapped(nn.Module):
        def __init__(self, dim_s: int, dim_t: int) -> None:
            super().__init__()
            self.map = nn.Linear(dim_s, dim_t)

        def forward(self, h_s: Tensor, h_t: Tensor) -> Tensor:
            return (self.map(h_s) - h_t).square().mean(dim=1)

    loss = attentive(loss=Mapped)
    queries, keys = [mlp() for _ in h_s], [mlp() for _ in h_t]
    for heads, theirs, inputs in (
        (loss.attention.queries, queries, h_s),
        (loss.attention.keys, keys, h_t),
    ):
        for head, one, h in zip(heads, theirs, inputs, strict=True):
            head.load_state_dict(one.state_dict() | {"0.weight": one[0].weight @ h})
    maps = [[loss.losses[3 * s + t].map for t in range(3)] for s in range(2)]
    torch.testing.assert_close(loss(h_s, h_t), released_semckd(h_s, h_t, queries, keys, maps))


def test_the_released_loss_at_the_released_weights() -> None:
    h_s, h_t = layers(n=6)
    h_t = [h.detach() for h in h_t]
    queries = [nn.Linear(6, 8).double() for _ in h_s]
    keys = [nn.Linear(6, 8).double() for _ in h_t]
    maps = [[nn.Linear(s, t).double() for t in DIMS_T] for s in DIMS_S]
    alpha = cross_attention(
        [m(h @ h.T) for m, h in zip(queries, h_s, strict=True)],
        [m(h @ h.T) for m, h in zip(keys, h_t, strict=True)],
    )
    every = [(s, t) for s in range(2) for t in range(3)]
    one = [lambda h, g, m=maps[s][t]: (m(h) - g).square().mean(1) for s, t in every]
    ours = G.layerwise_loss(h_s, h_t, one, pairs=every, weights=alpha.flatten(1) / 2)
    theirs = released_semckd(h_s, h_t, queries, keys, maps)
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(
        torch.autograd.grad(ours, h_s, retain_graph=True),
        torch.autograd.grad(theirs, h_s),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_attention_at_the_edges(dtype: torch.dtype) -> None:
    loss = attentive().float()
    for n in (0, 1, 7):
        h_s, h_t = layers(n, dtype)
        h_s[0].data[:1] = 0
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = loss(h_s, h_t)
        assert torch.equal(value, loss(h_s, h_t))
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert n > 0 or value == 0
        assert all(g.isfinite().all() for g in torch.autograd.grad(value, h_s))
    h_s[1].data[2, 0] = torch.nan
    assert loss(h_s, h_t).isnan()


def test_no_teacher_layer_is_dropped() -> None:
    torch.manual_seed(0)
    h_s, h_t = layers(20)
    loss = attentive()
    optimizer = torch.optim.Adam(loss.attention.parameters(), lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        loss(h_s, h_t).backward()
        optimizer.step()
    _, alpha = loss.attention(h_s, h_t, None)
    ratio = alpha.amax(dim=2) / alpha.amin(dim=2)
    assert 2 < ratio.max() <= torch.e**2 + 1e-9


def test_copies() -> None:
    h_s, h_t = layers()
    loss = LayerwiseLoss(lambda s, t: by_node(s, t), DIMS_S, DIMS_T, pairs="attention").double()
    expected = loss(h_s, h_t)
    other = LayerwiseLoss(by_node, DIMS_S, DIMS_T, pairs="attention").double()
    other.load_state_dict(loss.state_dict())
    for same in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), other):
        assert torch.equal(same(h_s, h_t), expected)
        assert repr(same) == repr(loss)
    other.reset_parameters()
    assert not torch.equal(other(h_s, h_t), expected)


def test_attention_compiles_with_numbers_and_masks() -> None:
    torch._dynamo.reset()
    h_s, h_t = layers(24)
    loss = attentive()
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    for index in (torch.tensor([3, 3, 20]), torch.arange(24) % 3 == 0):
        torch.testing.assert_close(compiled(h_s, h_t, index=index), loss(h_s, h_t, index=index))
