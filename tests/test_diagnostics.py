"""The measures of ``graphkd.diagnostics`` against dense definitions, and their laws."""

import functools
from collections.abc import Callable
from decimal import Decimal, localcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

import graphkd
from graphkd import diagnostics as D
from graphkd.functional import cka_loss
from tests.oracles.diagnostics import EDGES, MEASURES, N, every, overlap, same_prediction, spaces


def test_every_public_measure_is_tried() -> None:
    measures = {name for name in D.__all__ if name.islower()} - {"permutation_test"}
    plots = {name for name in measures if name.startswith("plot_")}
    assert {*MEASURES, "agreement"} - {"debiased"} == measures - plots


@every
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("widths", [(3, 6), (7, 2), (5, 60)])
def test_against_the_dense_definition(name: str, widths: tuple[int, int], zeros: bool) -> None:
    measure, oracle = MEASURES[name]
    h_s, h_t = spaces(N, *widths, seed=1, zeros=zeros)
    found = measure(h_s, h_t)
    assert found.shape == ()
    assert found.dtype == torch.float64
    assert_close(found.item(), oracle(h_s, h_t), rtol=1e-11, atol=1e-13)


@every
def test_blocks_of_rows_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    measure, oracle = MEASURES[name]
    monkeypatch.setattr("graphkd.diagnostics._gate._BLOCK", 30)
    monkeypatch.setattr("graphkd.diagnostics.neighbours._TILE", 3 * N)
    h_s, h_t = spaces()
    assert_close(measure(h_s, h_t).item(), oracle(h_s, h_t), rtol=1e-11, atol=1e-13)


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_inputs_are_taken_as_they_are(name: str, dtype: torch.dtype) -> None:
    """Not rounded further: the value is that of the same numbers in float64."""
    measure, oracle = MEASURES[name]
    h_s, h_t = (h.to(dtype) for h in spaces())
    expected = oracle(h_s.double(), h_t.double())
    assert_close(measure(h_s, h_t).item(), expected, rtol=1e-11, atol=1e-13)
    assert_close(measure(h_s, h_t.double()).item(), expected, rtol=1e-11, atol=1e-13)


def test_agreement() -> None:
    z_s, z_t = spaces(N, 4, 4)
    assert_close(D.agreement(z_s, z_t).item(), same_prediction(z_s, z_t))
    masked = torch.tensor([[0.0, -torch.inf], [torch.inf, 1.0], [2.0, 2.0]])
    assert D.agreement(masked, torch.tensor([[5.0, 1], [0, 1], [1, 0]])).item() == 2 / 3
    assert D.agreement(torch.rand(5, 1), torch.rand(5, 1)) == 1
    assert D.agreement(masked, masked * torch.nan).isnan()


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("kind", ["plain", "still student", "both still", "three rows", "one row"])
def test_cka_is_one_minus_the_loss(kind: str, debiased: bool) -> None:
    h_s, h_t = spaces()
    if "still" in kind:
        h_s = h_s[:1].expand(N, -1)
    if kind == "both still":
        h_t = h_t[:1].expand(N, -1)
    rows = {"three rows": 3, "one row": 1}.get(kind, N)
    h_s, h_t = h_s[:rows], h_t[:rows]
    expected = 1 - cka_loss(h_s, h_t, debiased=debiased)
    assert_close(D.linear_cka(h_s, h_t, debiased=debiased), expected, rtol=1e-12, atol=1e-12)


def rotation(d: int) -> Tensor:
    return torch.linalg.qr(torch.randn(d, d, dtype=torch.float64)).Q


law = functools.partial(settings, deadline=None, max_examples=15, derandomize=True)
SIZES = {"n": st.integers(6, 30), "d_s": st.integers(2, 6), "d_t": st.integers(2, 9)}
SEEDS = {"seed": st.integers(0, 10**6)}


def measures_of(n: int) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    edges = torch.cat([torch.arange(n).repeat(2), torch.arange(2 * n) % n], 0).view(2, -1)
    edges[1] = (edges[1] * 7 + 1) % n
    return {
        "linear_cka": D.linear_cka,
        "debiased": functools.partial(D.linear_cka, debiased=True),
        "procrustes_disparity": D.procrustes_disparity,
        "global_structure_correlation": D.global_structure_correlation,
        "local_structure_correlation": functools.partial(
            D.local_structure_correlation, edge_index=edges
        ),
        "neighbour_overlap": functools.partial(D.neighbour_overlap, k=3),
        "second_order_cosine": functools.partial(D.second_order_cosine, k=3),
    }


@law()
@given(**SIZES, **SEEDS)
def test_rotations_and_scales_change_nothing(n: int, d_s: int, d_t: int, seed: int) -> None:
    torch.manual_seed(seed)
    h_s, h_t = spaces(n, d_s, d_t, seed, zeros=False)
    for name, measure in measures_of(n).items():
        value = measure(h_s, h_t)
        for other in ((100 * h_s @ rotation(d_s), h_t), (h_s, h_t @ rotation(d_t) / 3)):
            assert_close(measure(*other), value, rtol=1e-9, atol=1e-9, msg=name)
        if name in ("linear_cka", "debiased", "procrustes_disparity"):
            assert_close(measure(h_s + 5, h_t - 9), value, rtol=1e-9, atol=1e-9, msg=name)
        else:
            lengths = torch.rand(n, 1, dtype=torch.float64) + 0.1
            assert_close(measure(h_s * lengths, h_t), value, rtol=1e-9, atol=1e-9, msg=name)


@law()
@given(**SIZES, **SEEDS)
def test_swapped_or_renumbered(n: int, d_s: int, d_t: int, seed: int) -> None:
    torch.manual_seed(seed)
    h_s, h_t = spaces(n, d_s, d_t, seed, zeros=False)
    order = torch.randperm(n)
    for name, measure in measures_of(n).items():
        value = measure(h_s, h_t)
        assert -1 <= value <= 1, name
        assert_close(measure(h_t, h_s), value, rtol=1e-9, atol=1e-9, msg=name)
        if name != "local_structure_correlation":
            assert_close(measure(h_s[order], h_t[order]), value, rtol=1e-9, atol=1e-9, msg=name)
    edges = torch.randint(0, n, (2, 4 * n))
    place = order.argsort()
    value = D.local_structure_correlation(h_s, h_t, edges)
    other = D.local_structure_correlation(h_s[order], h_t[order], place[edges])
    assert_close(other, value, rtol=1e-9, atol=1e-9)


@law()
@given(n=SIZES["n"], d=SIZES["d_s"], **SEEDS)
def test_a_space_and_itself(n: int, d: int, seed: int) -> None:
    h, _ = spaces(n, d, 2, seed, zeros=seed % 2 == 0)
    for name, measure in measures_of(n).items():
        best = 0.0 if name == "procrustes_disparity" else 1.0
        if name == "second_order_cosine" and seed % 2 == 0:
            best = (n - 2) / n  # rows of zeros have no similarities
        value = measure(h, h.clone())
        assert_close(value.item(), best, rtol=0, atol=1e-13, msg=f"{name}: {value}")
    assert D.agreement(h, h.clone()) == 1


@pytest.mark.parametrize("graph", ["int32", "Graph", "adj_t", "EdgeIndex"])
def test_every_format_of_edges(graph: str) -> None:
    h_s, h_t = spaces()
    expected = D.local_structure_correlation(h_s, h_t, EDGES)
    made = {
        "int32": lambda: EDGES.int(),
        "Graph": lambda: graphkd.Graph(EDGES, N, edge_weight=torch.rand(EDGES.size(1))),
        "adj_t": lambda: torch.sparse_coo_tensor(EDGES.flip(0), torch.rand(EDGES.size(1)), (N, N)),
        "EdgeIndex": lambda: __import__("torch_geometric").EdgeIndex(EDGES),
    }[graph]()
    assert_close(D.local_structure_correlation(h_s, h_t, made), expected)


def exact_cosines(h: Tensor) -> list[list[Decimal]]:
    rows = [[Decimal(x) for x in row] for row in h.tolist()]
    lengths = [sum(x * x for x in row).sqrt() for row in rows]
    return [
        [sum(map(Decimal.__mul__, a, b)) / (m * n) for b, n in zip(rows, lengths, strict=True)]
        for a, m in zip(rows, lengths, strict=True)
    ]


def exact_pearson(x: list[Decimal], y: list[Decimal]) -> Decimal:
    x, y = ([value - sum(v) / len(v) for value in v] for v in (x, y))
    dot = [sum(map(Decimal.__mul__, a, b)) for a, b in ((x, y), (x, x), (y, y))]
    return dot[0] / (dot[1] * dot[2]).sqrt()


@pytest.mark.parametrize(("spread", "digits"), [(1e-3, 1e-12), (3e-5, 1e-10), (1e-7, 1e-7)])
def test_crowded_rows_keep_their_digits(spread: float, digits: float) -> None:
    """Cosines of 1 - 1e-9 say nine digits less than their difference from 1."""
    near, h_t = spaces(12, 4, 5, zeros=False)
    h_s, h_t = 1 + spread * near, 100 * (1 + spread * h_t)
    with localcontext() as context:
        context.prec = 60
        s, t = exact_cosines(h_s), exact_cosines(h_t)
        pairs = [(i, j) for j in range(12) for i in range(j)]
        expected = exact_pearson(*([c[i][j] for i, j in pairs] for c in (s, t)))
    edges = torch.tensor(pairs).T
    for found in (
        D.global_structure_correlation(h_s, h_t),
        D.local_structure_correlation(h_s, h_t, edges),
    ):
        assert abs(Decimal(found.item()) - expected) < digits


@pytest.mark.parametrize("name", ["linear_cka", "debiased", "procrustes_disparity"])
def test_rows_far_from_the_origin_keep_their_digits(name: str) -> None:
    measure, oracle = MEASURES[name]
    h_s, h_t = (1e6 + h.round(decimals=6) for h in spaces())
    expected = oracle(h_s - 1e6, h_t - 1e6)
    assert_close(measure(h_s, h_t).item(), expected, rtol=1e-8, atol=1e-10)


def test_neighbours_of_equal_rows_are_the_first() -> None:
    """As often as rows occur, in whatever scale: rounding breaks no tie."""
    torch.manual_seed(0)
    few = torch.randn(6, 5, dtype=torch.float64)
    which = torch.randint(0, 6, (60,))
    h_s = few[which] * torch.rand(60, 1, dtype=torch.float64)
    h_t = few[which].float()
    for k in (1, 4, 30):
        assert_close(D.neighbour_overlap(h_s, h_t, k).item(), overlap(few[which], h_t, k))
    assert D.neighbour_overlap(h_s, few[which], 7) == 1
