"""Weights of edges, tried on each row of the contract table that takes them."""

import copy
import inspect
import pickle

import pytest
import torch
from torch.testing import assert_close
from torch_geometric import EdgeIndex

import graphkd
import graphkd.functional as G
from graphkd.ops.primitives import edge_divergence
from tests.contract import Loss, every


def takes(loss: Loss) -> bool:
    return "edge_weight" in inspect.signature(loss.function).parameters


def drawn(edge_index: torch.Tensor, seed: int = 1) -> torch.Tensor:
    """Weights with zeros, which leave one centre without a neighbour."""
    generator = torch.Generator().manual_seed(seed)
    weight = 3 * torch.rand(edge_index.size(1), generator=generator, dtype=torch.float64)
    weight[::5] = 0
    return weight.masked_fill(edge_index[1] == edge_index[1, 0], 0)


def assert_same(
    value: torch.Tensor, expected: torch.Tensor, inputs: tuple[torch.Tensor, ...]
) -> None:
    """Both have the same value and the same gradients, by an upstream gradient for each row."""
    assert_close(value, expected)
    upstream = torch.linspace(1, 2, value.numel(), dtype=value.dtype).view(value.shape)
    found = torch.autograd.grad(value, inputs, upstream)
    assert_close(found, torch.autograd.grad(expected, inputs, upstream, retain_graph=True))


@every(variants=True, backends=True, where=takes)
def test_weights_are_those_of_the_oracle(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs()
    weight = drawn(edge_index).requires_grad_()
    value = loss.rows(h_s, h_t, edge_index, **options, edge_weight=weight)
    plain = {name: option for name, option in options.items() if name != "backend"}
    expected = loss.expected(h_s, h_t, edge_index, **plain, edge_weight=weight)
    assert_same(value, expected, (h_s, weight))


@every(variants=True, where=takes)
def test_an_edge_of_weight_zero_is_none(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs()
    weight = drawn(edge_index)
    kept = weight > 0
    for more in ({}, {"index": torch.tensor([7, 2, 5, 1])}):
        given = {**options, **more} if loss.row_wise else options
        value = loss.call(h_s, h_t, edge_index, **given, edge_weight=weight)
        without = loss.call(h_s, h_t, edge_index[:, kept], **given, edge_weight=weight[kept])
        assert_same(value, without, (h_s,))
        value = loss.call(h_s, h_t, edge_index, **given, edge_weight=torch.zeros(27))
        assert_same(value, loss.call(h_s, h_t, edge_index[:, :0], **given), (h_s,))


@every(variants=True, where=takes)
def test_equal_edge_weights(loss: Loss, options: dict) -> None:
    for dtype, extremes in ((torch.float64, (1e-300, 1e300)), (torch.float32, (1e-37, 1e37))):
        h_s, h_t, edge_index = loss.inputs(dtype=dtype)
        expected = loss.call(h_s, h_t, edge_index, **options)
        for equal in (1.0, 3.0, *extremes) if loss.edge_ratios else (1.0,):
            weight = torch.full((27,), equal, dtype=dtype)
            assert_same(
                loss.call(h_s, h_t, edge_index, **options, edge_weight=weight), expected, (h_s,)
            )


def counts_copies(loss: Loss, options: dict) -> bool:
    """Not for a median of edges, nor for squares: those of parts are not parts of squares."""
    return options.get("gamma") != "median" and options.get("divergence") != "mse"


@every(variants=True, where=takes, keep=counts_copies)
def test_whole_weights_are_duplicates(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs()
    times = torch.arange(27) % 4
    value = loss.call(h_s, h_t, edge_index, **options, edge_weight=times.double())
    repeated = edge_index.repeat_interleave(times, dim=1)
    assert_same(value, loss.call(h_s, h_t, repeated, **options), (h_s,))


@every(backends=True, where=takes)
def test_float32_rows_take_other_edge_weights(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs(dtype=torch.float32)
    weight = drawn(edge_index).bfloat16()
    expected = loss.call(h_s, h_t, edge_index, **options, edge_weight=weight.float())
    for dtype in (torch.float64, torch.bfloat16):
        given = weight.to(dtype).requires_grad_()
        value = loss.call(h_s, h_t, edge_index, **options, edge_weight=given)
        assert_close(value, expected)
        gradient, of_weight = torch.autograd.grad(value, (h_s, given))
        assert (gradient.dtype, of_weight.dtype) == (torch.float32, dtype)


@every(where=takes)
def test_edge_weights_follow_their_edges(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs()
    weight = drawn(edge_index)
    graph = graphkd.Graph(edge_index, 9, edge_weight=weight)
    expected = loss.call(h_s, h_t, edge_index, **options, edge_weight=weight)
    order = torch.randperm(27)
    for edges, given in (
        (edge_index[:, order], weight[order]),
        (edge_index.int(), weight),
        (EdgeIndex(edge_index), weight),
        (graph, None),
        (graph.to("cpu"), None),
        (copy.deepcopy(graph), None),
        (pickle.loads(pickle.dumps(graph)), None),
        (graph.edge_index, graph.edge_weight),
    ):
        assert_same(loss.call(h_s, h_t, edges, **options, edge_weight=given), expected, (h_s,))
    # A graph that was sorted before without weights, and other weights on it.
    other = drawn(edge_index, seed=2)
    graph = graphkd.Graph(edge_index, 9, edge_weight=other)
    assert_same(
        loss.call(h_s, h_t, edge_index, **options, edge_weight=other),
        loss.call(h_s, h_t, graph, **options),
        (h_s,),
    )


@every(where=takes)
def test_modules_take_edge_weights(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs()
    weight = drawn(edge_index)
    module = loss.build_as_function(h_s, h_t, **options).double()
    value = loss.call_module(module, h_s, h_t, edge_index, edge_weight=weight)
    assert_close(value, loss.call(h_s, h_t, edge_index, **options, edge_weight=weight))


@every(where=lambda loss: loss.name in ("lsp", "ff_g2m"))
def test_edge_weights_compile(loss: Loss, options: dict) -> None:
    torch._dynamo.reset()

    @torch.compile(fullgraph=True, dynamic=True, backend="aot_eager")
    def compiled(h_s, h_t, edge_index, weight):
        return loss.call(h_s, h_t, edge_index, **options, edge_weight=weight)

    h_s, h_t, edge_index = loss.inputs()
    weight = drawn(edge_index).requires_grad_()
    expected = loss.call(h_s, h_t, edge_index, **options, edge_weight=weight)
    assert_same(compiled(h_s, h_t, edge_index, weight), expected, (h_s, weight))


@pytest.mark.parametrize("backend", ["chunked", "reference"])
@pytest.mark.parametrize("divergence", ["kl", "mse"])
@pytest.mark.parametrize("apart", [1e-1, 1e-3, 1e-5])
def test_weighted_lsp_keeps_its_digits_near_convergence(backend, divergence, apart) -> None:
    edge_index = torch.randint(0, 30, (2, 200))
    # Shares from 1e-7 to 1e7, and values whose difference is exact.
    weight = (16 * torch.rand(200) * 2 - 16).exp().masked_fill(torch.rand(200) < 0.2, 0)
    student = torch.randn(200)
    teacher = student + apart * torch.randn(200)
    found = []
    for dtype in (torch.float32, torch.float64):
        given = [x.to(dtype).requires_grad_() for x in (student, weight)]
        edges = graphkd.Graph(edge_index, 30).edges.weighted(given[1])
        args = "lsp_loss", given[0], teacher.to(dtype), edges, divergence, backend
        value = edge_divergence(*args).sum()
        found.append([value, *torch.autograd.grad(value, given)])
    # The plain form lets autograd subtract what the two sides give a weight.
    count = 3 if backend == "chunked" else 2
    for one, other in list(zip(*found, strict=True))[:count]:
        assert (one - other).norm() <= 2e-5 * other.norm()


def test_second_derivatives_by_edge_weights() -> None:
    edges = torch.tensor([[0, 1, 2, 3, 3], [1, 1, 1, 2, 1]])
    z_s, z_t = torch.randn(2, 4, 3, dtype=torch.float64)
    weight = torch.tensor([0.5, 1.0, 2.0, 1.5, 0.1], dtype=torch.float64)
    given = z_s.requires_grad_(), weight.requires_grad_()
    for loss in (
        lambda z, w: G.lsp_loss(z, z_t, edges, edge_weight=w, backend="reference"),
        lambda z, w: G.krd_loss(z, z_t, edges, z_t[:, 0].sigmoid(), edge_weight=w),
    ):
        assert torch.autograd.gradgradcheck(loss, given)


def test_huge_and_tiny_edge_weights_are_finite() -> None:
    h_s, h_t = torch.randn(2, 9, 5)
    edge_index = torch.randint(0, 9, (2, 27))
    spread = torch.logspace(-44, 38, 27)
    for weight in (spread, spread.double() ** 7, torch.full((27,), 3e38)):
        for loss in (G.lsp_loss, G.ff_g2m_loss, lambda *x, **o: G.krd_loss(*x, torch.rand(9), **o)):
            z = h_s.clone().requires_grad_()
            value = loss(z, h_t, edge_index, edge_weight=weight)
            (gradient,) = torch.autograd.grad(value, z)
            assert value.isfinite()
            assert gradient.isfinite().all()


BAD = [
    (torch.ones(27, dtype=torch.long), TypeError, r"\.float\(\)"),
    (2.0, TypeError, "multiply"),
    (torch.ones(27).to_sparse(), TypeError, r"\.to_dense\(\)"),
    (torch.ones(9), ValueError, "in the same order"),
    (torch.ones(27, 1), ValueError, r"\.view\(-1\)"),
    (torch.full((27,), -1.0), ValueError, "negative"),
    (torch.full((27,), torch.nan), ValueError, "nan"),
]


@every(where=takes)
@pytest.mark.parametrize(("bad", "error", "told"), BAD)
def test_bad_edge_weights_are_named(loss: Loss, options: dict, bad, error, told) -> None:
    h_s, h_t, edge_index = loss.inputs()
    with pytest.raises(error, match=r"edge_weight must .*got") as caught:
        loss.call(h_s, h_t, edge_index, **options, edge_weight=bad)
    caught.match(told)
    with pytest.raises(error, match="Graph: edge_weight"):
        graphkd.Graph(edge_index, 9, edge_weight=bad)


@every(where=takes)
def test_edge_weights_need_an_order(loss: Loss, options: dict) -> None:
    h_s, h_t, edge_index = loss.inputs()
    weight = torch.ones(27)
    adj_t = torch.sparse_coo_tensor(edge_index.flip(0), weight, (9, 9))
    for graph, told in (
        (adj_t, "to_edge_index"),
        (adj_t.coalesce().to_sparse_csr(), "to_edge_index"),
        (graphkd.Graph(edge_index, 9), "Build it"),
        (graphkd.Graph(edge_index, 9, edge_weight=weight), "Build it"),
    ):
        with pytest.raises(ValueError, match=f"edge_weight.*order.*got.*{told}"):
            loss.call(h_s, h_t, graph, **options, edge_weight=weight)
