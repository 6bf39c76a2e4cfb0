"""The Triton backend against the reference: by the interpreter, or on a GPU if there is one."""

import importlib
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn.functional import normalize

CUDA = torch.cuda.is_available()
pytest.importorskip("triton")

from graphkd.graph import Edges, sort_edges  # noqa: E402
from graphkd.ops import reference  # noqa: E402
from graphkd.ops import triton as backend  # noqa: E402
from graphkd.ops.triton import _common  # noqa: E402
from graphkd.similarity import KERNELS, Kernel, kernel_rows  # noqa: E402

DEVICE = "cuda" if CUDA else "cpu"
GAMMA = torch.tensor(0.3, dtype=torch.float64, device=DEVICE)
WIDTHS = [(30, 1), (40, 5), (33, 64), (18, 100), (4, 300), (3, 1024)]
every_kernel = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)


def power_law(num_src: int = 29, num_dst: int = 41, num_edges: int = 230) -> Edges:
    """Hubs on both sides, duplicates, and the last nodes isolated."""
    src = (torch.rand(num_edges) ** 3 * (num_src - 2)).long()
    dst = (torch.rand(num_edges) ** 3 * (num_dst - 3)).long()
    return sort_edges(src.to(DEVICE), dst.to(DEVICE), num_src, num_dst)


def rows(n: int, width: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, width, dtype=dtype, device=DEVICE)


def unit(n: int, width: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return normalize(rows(n, width, dtype), dim=1)


def infonce(
    temperature: float = 0.1, precision: str = "float32", drawn: Tensor | None = None
) -> tuple[Callable, Callable]:
    """Both forms of InfoNCE; the rows of q beyond the count of p are further keys."""

    def keys(p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        return q[: len(p)], q[len(p) :].detach()  # further keys get no gradient

    return (
        lambda p, q: backend.infonce(p, *keys(p, q), drawn, temperature, precision),
        lambda p, q: reference.infonce(p, *keys(p, q), drawn, temperature),
    )


def gap(kernel: Kernel, precision: str = "float32") -> tuple[Callable, Callable]:
    return (
        lambda s, t: backend.pairwise_gap(s, t, kernel, GAMMA, 2 * GAMMA, precision),
        lambda s, t: reference.pairwise_gap(s, t, kernel, GAMMA, 2 * GAMMA, loss=""),
    )


def along(edges: Edges, kernel: Kernel) -> tuple[Callable, Callable]:
    return (
        lambda a, b: backend.edge_similarity(a, b, edges, kernel, GAMMA),
        lambda a, b: reference.edge_similarity(a, b, edges, kernel, GAMMA, loss=""),
    )


def outcome(function: Callable, a: Tensor, b: Tensor) -> list[Tensor]:
    """Values and both gradients, under an upstream gradient that differs by row."""
    a, b = a.detach().requires_grad_(), b.detach().requires_grad_()
    values = function(a, b)
    upstream = torch.linspace(-1, 2, values.numel(), dtype=values.dtype, device=DEVICE)
    return [values.detach(), *torch.autograd.grad(values, (a, b), upstream)]


def errors(got: list[Tensor], truth: list[Tensor]) -> list[float]:
    return [float((x - y).norm() / (y.norm() + 1e-6)) for x, y in zip(got, truth, strict=True)]


def agree(pair: tuple[Callable, Callable], a: Tensor, b: Tensor, floor: float = 2e-6) -> None:
    """The error against float64 is at most a few times the reference's error in the same dtype."""
    truth = outcome(pair[1], a.double(), b.double())
    budget = errors(outcome(pair[1], a, b), truth)
    floor = 1e-12 if a.dtype == torch.float64 else floor
    for error, allowed in zip(errors(outcome(pair[0], a, b), truth), budget, strict=True):
        assert error <= max(4 * allowed, floor)


@pytest.fixture(autouse=True)
def _poisoned_memory() -> Iterator[None]:
    """torch.empty gives NaN, so that an unwritten output shows."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


def small_blocks(width: int, *_: object) -> _common.Blocks:
    chunk = _common.between(16, width // 3, 512)
    return _common.Blocks(16, 16, chunk, chunk, 4)


@pytest.fixture(params=[(torch.float32, False), (torch.float64, True)], ids=str)
def dtype(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.dtype:
    """Float32 in the usual blocks, and float64 in small blocks, so that there are several."""
    if request.param[0] == torch.float64 and not _common.MULTIPLIES_FLOAT64:
        pytest.skip("this triton does not multiply float64")
    for name in ("_common", "infonce", "pairwise", "edges") if request.param[1] else ():
        module = importlib.import_module(f"graphkd.ops.triton.{name}")
        for table in {"product_blocks", "difference_blocks", "edge_blocks"} & {*vars(module)}:
            monkeypatch.setattr(module, table, small_blocks)
    return request.param[0]


@pytest.mark.parametrize(("n", "width"), [(1, 3), *WIDTHS])
@pytest.mark.parametrize("extra", [0, 19])
def test_infonce(n: int, width: int, extra: int, dtype: torch.dtype) -> None:
    p, q = unit(n, width, dtype), unit(n + extra, width, dtype)
    agree(infonce(), p, q)
    if n > 3:
        agree(infonce(drawn=torch.randperm(n, device=DEVICE)[: (n + 1) // 2]), p, q)


@pytest.mark.parametrize("temperature", [1e-3, 0.075, 1.0, 10.0])
def test_infonce_temperatures(temperature: float) -> None:
    q = unit(40, 8, torch.float32)
    p = normalize(q + 0.1 * rows(40, 8, torch.float32), dim=1)
    # A margin of 2/T is rounded once, and its exponential shows that.
    agree(infonce(temperature), p, q, floor=2e-6 + 2e-7 / temperature)
    agree(infonce(temperature), p.double(), q.double())


def test_infonce_keeps_the_digits_of_values_near_zero() -> None:
    p = torch.eye(20, device=DEVICE)
    values = backend.infonce(p, p, p[:0], None, 0.05, "float32")
    assert (values * torch.tensor(20.0).exp() / 19 - 1).abs().max() < 1e-5


@every_kernel
@pytest.mark.parametrize(("n", "width"), [(1, 3), *WIDTHS])
def test_pairwise_gap(kernel: Kernel, n: int, width: int, dtype: torch.dtype) -> None:
    s, t = rows(n, width, dtype) / width**0.5, rows(n, 17, dtype) / 4
    agree(gap(kernel), s, t)


@every_kernel
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_pairwise_gap_near_convergence_far_from_the_origin(kernel: Kernel, offset: float) -> None:
    s = rows(40, 16, torch.float32) + offset
    s[20:] = s[:20] + 1e-3 * rows(20, 16, torch.float32)
    t = s + 1e-3 * torch.randn_like(s)
    agree(gap(kernel), kernel_rows(kernel, s), kernel_rows(kernel, t))


def test_equal_rows_get_a_finite_gradient() -> None:
    agree(gap(KERNELS["l2"]), rows(1, 4).expand(20, 4), rows(20, 6))


@every_kernel
@pytest.mark.parametrize("width", [1, 5, 100, 300, 1024])
def test_edge_similarity(kernel: Kernel, width: int, dtype: torch.dtype) -> None:
    edges = power_law(*((29, 41, 230) if width < 100 else (6, 9, 40)))
    a, b = rows(edges.num_src, width, dtype), rows(edges.num_dst, width, dtype)
    agree(along(edges, kernel), a / width**0.5, b / width**0.5)


def test_edges_that_name_no_node_give_nan_and_touch_no_memory() -> None:
    edges = power_law()
    edges.src[:3] = torch.tensor([-1, 29, 2**40])
    function = along(edges, KERNELS["cosine"])[0]
    values, _, grad_dst = outcome(function, rows(29, 5), rows(41, 5))
    assert values.isnan().nonzero().flatten().tolist() == [0, 1, 2]
    assert grad_dst.isfinite().all()


FEW_EDGES = sort_edges(
    torch.arange(12, device=DEVICE) % 7, torch.arange(12, device=DEVICE) % 5, 9, 7
)
FURTHER = rows(3, 3)


def with_further_keys(function: Callable) -> Callable:
    return lambda p, q: function(p, torch.cat([q, FURTHER]))


PRIMITIVES = {
    "infonce": (with_further_keys(infonce()[0]), 9),
    "infonce-drawn": (
        with_further_keys(infonce(drawn=torch.tensor([7, 2, 5, 0], device=DEVICE))[0]),
        9,
    ),
    "gap-poly": (gap(KERNELS["poly"])[0], 9),
    "gap-l2": (gap(KERNELS["l2"])[0], 9),
    "edges-rbf": (along(FEW_EDGES, KERNELS["rbf"])[0], 7),
}


@pytest.fixture(params=PRIMITIVES)
def primitive(request: pytest.FixtureRequest) -> tuple[Callable, Tensor, Tensor]:
    function, others = PRIMITIVES[request.param]
    return function, rows(9, 3), rows(others, 3)


def test_gradcheck(primitive: tuple[Callable, Tensor, Tensor]) -> None:
    function, a, b = primitive
    # The interpreter is slow; in fast mode one direction stands for all entries.
    assert gradcheck(function, (a.requires_grad_(), b.requires_grad_()), fast_mode=True)


def test_transforms(primitive: tuple[Callable, Tensor, Tensor]) -> None:
    function, a, b = primitive
    expected = outcome(function, a, b)
    strided = a.T.contiguous().T, b.repeat(1, 2)[:, ::2].copy_(b)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    with torch.autocast(DEVICE, dtype=torch.bfloat16):
        cast = outcome(function, a, b)
    for other in (outcome(function, a, b), cast):
        assert all(torch.equal(x, y) for x, y in zip(other, expected, strict=True))
    for other in (outcome(function, *strided), outcome(compiled, *strided)):
        torch.testing.assert_close(other, expected)
    gradient = torch.func.grad(lambda a, b: function(a, b).sum(), argnums=(0, 1))(a, b)
    a.requires_grad_()
    ours = torch.autograd.grad(function(a, b).sum(), a, create_graph=True)[0]
    torch.testing.assert_close(gradient[0], ours.detach())
    with pytest.raises(NotImplementedError, match="Triton backend"):
        torch.autograd.grad(ours.square().sum(), a)


def test_nan_shows(primitive: tuple[Callable, Tensor, Tensor]) -> None:
    function, a, b = primitive
    for tensor in (a, b):
        hurt = tensor.clone()
        hurt[1, 2] = torch.nan
        assert function(*(hurt if x is tensor else x for x in (a, b))).isnan().any()
    alone = torch.tensor([[torch.nan, 1.0]], device=DEVICE)
    function = infonce(1.0)[0]
    assert function(alone, torch.ones_like(alone)).isnan().all()


@every_kernel
def test_empty(kernel: Kernel) -> None:
    nothing = torch.tensor([], dtype=torch.long)
    for result in (
        outcome(infonce()[0], rows(0, 4), rows(3, 4)),
        outcome(gap(kernel)[0], rows(0, 4), rows(0, 3)),
        outcome(along(sort_edges(nothing, nothing, 4, 0), kernel)[0], rows(4, 3), rows(0, 3)),
        outcome(along(sort_edges(nothing, nothing, 2, 3), kernel)[0], rows(2, 3), rows(3, 3)),
    ):
        assert all((tensor == 0).all() for tensor in result)


def test_float64_is_refused_by_an_older_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_common, "MULTIPLIES_FLOAT64", False)
    with pytest.raises(ValueError, match=r"from triton 3\.5 on; got triton \d.*'chunked'"):
        infonce()[0](rows(3, 4), rows(3, 4))


@pytest.mark.parametrize(("precision", "bound"), [("tf32", 3e-3), ("bf16", 1e-2)])
def test_lower_precision(precision: str, bound: float) -> None:
    p, q = unit(48, 40, torch.float32), unit(70, 40, torch.float32)
    for (function, oracle), other in (
        (infonce(0.1, precision), q),
        (gap(KERNELS["cosine"], precision), q[:48]),
        (gap(KERNELS["poly"], precision), q[:48]),
    ):
        truth = outcome(oracle, p.double(), other.double())
        assert max(errors(outcome(function, p, other), truth)) < bound
