"""The measures of ``graphkd.diagnostics`` with hostile input: what is undefined, and what shows."""

import functools
import subprocess
import sys

import pytest
import torch
from torch.testing import assert_close

from graphkd import diagnostics as D
from tests.oracles.diagnostics import EDGES, MEASURES, N, every, spaces
from tests.peaks import peak_mib

NAN = float("nan")
ALONE = torch.tensor([[0, 0], [0, 0]])  # self loops of the first node


def on_few(name: str, n: int):
    """The measure with options that fit n rows."""
    measure = MEASURES[name][0]
    if name == "local_structure_correlation":
        return functools.partial(measure.func, edge_index=ALONE[:, :n])
    if name in ("neighbour_overlap", "second_order_cosine"):
        return functools.partial(measure.func, k=1)
    return measure


# What is undefined is NaN. A side without variance is like nothing but another such side, in the
# measures of whole spaces, as in cka_loss; of two rows, the neighbours are known.
FEW = {
    "linear_cka": [NAN, 1, 1],
    "debiased": [NAN, 1, 1],
    "procrustes_disparity": [NAN, 0, 0],
    "global_structure_correlation": [NAN, NAN, NAN],
    "local_structure_correlation": [NAN, NAN, NAN],
    "neighbour_overlap": [NAN, NAN, 1],
    "second_order_cosine": [NAN, NAN, 1],
}


@every
@pytest.mark.parametrize("n", [0, 1, 2])
def test_no_row_one_row_and_two(name: str, n: int) -> None:
    h_s, h_t = (h[4 : 4 + n] for h in spaces())
    value = on_few(name, n)(h_s, h_t)
    expected = torch.tensor(FEW[name][n], dtype=torch.float64)
    if name == "second_order_cosine" and n == 2:
        value = value.abs()  # each row has one neighbour, near or far
    assert_close(value, expected, equal_nan=True)
    assert D.agreement(h_s, h_s.clone()).isnan() == (n == 0)


STILL = {
    "equal rows": lambda h: h[:1].expand(N, -1),
    "zeros": torch.zeros_like,
    "one direction": lambda h: h[:1] * torch.rand(N, 1).double(),
}


@every
@pytest.mark.parametrize("kind", STILL)
def test_a_side_without_variance(name: str, kind: str) -> None:
    """Correlations do not exist then; zeros have no similarities; neighbours are the first rows."""
    measure = MEASURES[name][0]
    h_s, h_t = spaces(zeros=False)
    still = STILL[kind](h_s)
    one, both = measure(still, h_t), measure(still, still.clone())
    if "structure" in name:
        assert one.isnan()
        assert both.isnan()
    elif "neighbour" in name or name == "second_order_cosine":
        assert 0 <= one < 1
        assert_close(both.item(), 0.0 if kind == "zeros" and "second" in name else 1.0)
    elif kind != "one direction":
        worst = 1.0 if name == "procrustes_disparity" else 0.0
        assert one == worst
        assert both == 1 - worst


def test_equal_similarities_are_no_variance() -> None:
    """Rows that are all equally far apart, up to rounding."""
    torch.manual_seed(0)
    turned = torch.linalg.qr(torch.randn(20, 20, dtype=torch.float64)).Q
    assert D.global_structure_correlation(turned, torch.randn(20, 4)).isnan()
    edges = torch.randint(0, 20, (2, 50))
    assert D.local_structure_correlation(turned, torch.randn(20, 4), edges).isnan()
    assert D.linear_cka(turned, torch.randn(20, 4), debiased=True) == 0


@every
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_nan_and_infinity_show(name: str, bad: float, side: int) -> None:
    both = spaces()
    edge_row = int(EDGES[0, 0])
    both[side][edge_row, 1] = bad
    assert MEASURES[name][0](*both).isnan()
    # Nor does a side without variance hide it.
    both[1 - side].copy_(both[1 - side][:1].expand(N, -1))
    assert MEASURES[name][0](*both).isnan()


@every
@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e-40, 1e30, 1e160, 1e300])
def test_huge_and_tiny_rows(name: str, scale: float) -> None:
    h_s, h_t = spaces()
    expected = MEASURES[name][0](h_s, h_t)
    assert_close(MEASURES[name][0](h_s * scale, h_t / scale), expected, rtol=1e-9, atol=1e-9)


@every
def test_any_tensor_that_holds_the_rows(name: str) -> None:
    measure = MEASURES[name][0]
    h_s, h_t = spaces()
    expected = measure(h_s, h_t)
    with torch.inference_mode():
        inferred = h_s.clone(), h_t.clone()
    wide = torch.randn(N, 2 * h_s.size(1), dtype=torch.float64)
    wide[:, ::2] = h_s
    for s, t in (
        inferred,
        (h_s.T.contiguous().T, h_t.clone().requires_grad_()),
        (wide[:, ::2].requires_grad_(), h_t),
    ):
        value = measure(s, t)
        assert_close(value, expected, rtol=1e-12, atol=1e-12)
        assert not value.requires_grad
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(measure(h_s, h_t), expected, rtol=1e-12, atol=1e-12)
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float16)
        assert measure(h_s, h_t).dtype == torch.float64
    finally:
        torch.set_default_dtype(before)


@every
def test_on_the_device_of_the_inputs(name: str) -> None:
    """Whatever the default device is."""
    measure = MEASURES[name][0]
    h_s, h_t = spaces()
    torch.set_default_device("meta")
    try:
        assert measure(h_s, h_t).device.type == "cpu"
    finally:
        torch.set_default_device(None)


def test_no_edges() -> None:
    h_s, h_t = spaces()
    for edges in (torch.empty(2, 0, dtype=torch.long), ALONE, torch.tensor([[1], [2]])):
        assert D.local_structure_correlation(h_s, h_t, edges).isnan()


X = torch.randn(6, 3)
CUT = X[:5]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: D.linear_cka(X, CUT), ValueError, "linear_cka: h_s and h_t must have one"),
        (lambda: D.linear_cka(X[0], X), ValueError, "h_s must be two-dimensional"),
        (lambda: D.linear_cka(X, X, debiased=1), ValueError, "debiased must be True or False"),
        (lambda: D.procrustes_disparity(X, X.long()), TypeError, "h_t must hold real floating"),
        (lambda: D.global_structure_correlation(X, [X]), TypeError, "h_t must be a tensor"),
        (lambda: D.global_structure_correlation(X, X.to("meta")), ValueError, "same device"),
        (lambda: D.local_structure_correlation(X, X, EDGES), IndexError, "names source node"),
        (lambda: D.local_structure_correlation(X, X, None), TypeError, "needs a graph"),
        (lambda: D.local_structure_correlation(X, X, X), TypeError, "edge_index must be int64"),
        (lambda: D.neighbour_overlap(X, X), ValueError, "of rows; got k=10 for 6 rows"),
        (lambda: D.neighbour_overlap(X, X, 0), ValueError, "k must be at least 1"),
        (lambda: D.second_order_cosine(X, X, 2.0), TypeError, "k must be an integer"),
        (lambda: D.second_order_cosine(X, X, 6), ValueError, "cosine: k must be below"),
        (lambda: D.agreement(X, X[:, :2]), ValueError, "Both must predict the same classes"),
        (lambda: D.agreement(X, X[:, 0]), ValueError, "z_t must be two-dimensional"),
        (lambda: D.permutation_test(D.agreement, X, CUT), ValueError, "permutation_test: h_s and"),
        (lambda: D.permutation_test(D.agreement, X, X, permutations=0), ValueError, "at least 1"),
        (lambda: D.permutation_test(D.agreement, X, X, generator=1), TypeError, "torch.Generator"),
        (lambda: D.permutation_test(lambda s, t: s, X, X), ValueError, "must return one number"),
        (lambda: D.permutation_test(D.neighbour_overlap, X, X), ValueError, "k must be below"),
        (lambda: D.permutation_test("cka", X, X), TypeError, "measure must be a function"),
        (lambda: D.nothing, AttributeError, "has no attribute 'nothing'"),
    ],
)  # fmt: skip
def test_refusals(call, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


GROWTH = """
import functools
from graphkd import diagnostics as D
from tests.oracles.diagnostics import MEASURES
def peak(name, n):
    measure = MEASURES[name][0]
    h_s, h_t, edges = torch.randn(n, 48), torch.randn(n, 48), torch.randint(0, n, (2, 5 * n))
    options = {"edge_index": edges} if name.startswith("local") else {}
    if "neighbour" in name or "second" in name:
        options = {"k": 10}
    measure = functools.partial(getattr(measure, "func", measure), **options)
    measure(h_s[:64], h_t[:64], **({"edge_index": edges % 64} if "edge_index" in options else {}))
    return rise(lambda: measure(h_s, h_t))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@every
def test_memory_grows_linearly(name: str) -> None:
    """Below a third of one N × N matrix in float64, which takes 488 MiB."""
    mib = peak_mib(GROWTH, f"peak({name!r}, 8_000)")
    assert mib < 160, f"{mib:,.0f} MiB"


def test_what_needs_an_extra_says_so() -> None:
    """The functions need torch alone; a Metric without torchmetrics is an error with the remedy."""
    code = """
import sys
sys.modules["torchmetrics"] = sys.modules["matplotlib"] = None
import torch
before = set(sys.modules)
import graphkd
assert "graphkd.diagnostics" not in sys.modules
print(graphkd.diagnostics.linear_cka(torch.eye(3), torch.eye(3)).item())
new = {m.split(".")[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names)
assert new <= {"graphkd", "torch"}, new
try:
    from graphkd.diagnostics import LinearCKA
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    value, said = done.stdout.splitlines()
    assert float(value) == pytest.approx(1)
    assert said == (
        "graphkd.diagnostics.LinearCKA needs torchmetrics, which is not installed. Install the "
        "extra: pip install 'graphkd[metrics]'."
    )
