"""Which backend runs: one asked for by name runs or raises, and auto logs its choice."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

import graphkd
import graphkd.functional as G
from graphkd.ops import _blocks, backends, scatter, segments
from tests.contract import Loss, every


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is kept of the environment is forgotten before each test, and after what it pretends."""
    backends._log_choice.cache_clear()
    backends._has_triton.cache_clear()
    yield
    monkeypatch.undo()
    backends._has_triton.cache_clear()


@every(where=lambda loss: loss.backends)
def test_auto_says_once_what_it_picked(loss: Loss, options: dict, caplog) -> None:
    h_s, h_t, edge_index = loss.inputs()
    with caplog.at_level(logging.INFO, "graphkd"):
        for _ in range(3):
            loss.call(h_s, h_t, edge_index, **options)
    name = loss.function.__name__
    assert caplog.messages == [f"{name}: backend 'auto' runs 'chunked' on cpu"]


@every(where=lambda loss: "triton" in loss.backends)
def test_triton_is_never_replaced_silently(loss: Loss, options: dict, monkeypatch) -> None:
    h_s, h_t, edge_index = loss.inputs()
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    if backends.find_spec("triton"):
        with pytest.raises(ValueError, match="needs tensors on a GPU; got cpu"):
            loss.call(h_s, h_t, edge_index, backend="triton")
    with pytest.raises(ValueError, match="chunk_size belongs to backend='chunked'"):
        loss.call(h_s, h_t, edge_index, backend="triton", chunk_size=4)
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    backends._has_triton.cache_clear()
    with pytest.raises(ImportError, match="pip install triton"):
        loss.call(h_s, h_t, edge_index, backend="triton")


def test_precision_belongs_to_triton() -> None:
    h = torch.randn(8, 4)
    for backend in ("auto", "chunked", "reference"):
        with pytest.raises(ValueError, match="belongs to backend='triton'; got backend="):
            G.gcrd_loss(h, h, precision="tf32", backend=backend)
        with pytest.raises(ValueError, match="belongs to backend='triton'; got backend="):
            G.global_lsp_loss(h, h, kernel="poly", precision="tf32", backend=backend)
    for kernel in ("cosine", "l2", "rbf", "linear"):
        with pytest.raises(ValueError, match="belongs to kernel='poly'"):
            graphkd.GlobalLSPLoss(kernel, precision="bf16")
    with pytest.raises(ValueError, match="'float32', 'tf32', 'bf16'"):
        graphkd.GCRDLoss(4, 4, precision="float16")


def test_auto_takes_what_is_measured_on_a_gpu(monkeypatch) -> None:
    """Triton's programs are not, whatever is installed."""
    monkeypatch.setattr(backends, "_has_triton", lambda: True)
    like = SimpleNamespace(device=torch.device("cuda"), dtype=torch.float32)
    assert backends.pick_backend("x", "auto", like, backends.RELATIVE) == "chunked"
    assert backends.pick_backend("x", "triton", like, backends.RELATIVE) == "triton"


@pytest.mark.parametrize(
    ("gib", "expected"), [(8, 2**22), (24, 2**22), (80, 2**24), (141, 2**25)], ids=str
)
def test_blocks_grow_with_the_gpu(gib: int, expected: int, monkeypatch) -> None:
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    card = SimpleNamespace(total_memory=gib * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    assert _blocks.numbers(gpu, 2**18) == expected
    assert _blocks.numbers(cpu, 2**18) == 2**18
    assert _blocks.side(gpu, 512) ** 2 <= expected
    assert _blocks.side(cpu, 512) == 512


@every(where=lambda loss: "chunked" in loss.backends)
def test_blocks_of_any_size_give_one_value(loss: Loss, options: dict, monkeypatch) -> None:
    """As on a GPU, where their size depends on the card."""
    h_s, h_t, edge_index = loss.inputs(n=70)

    def outcome() -> tuple[torch.Tensor, torch.Tensor]:
        value = loss.call(h_s, h_t, edge_index, **options)
        return value.detach(), *torch.autograd.grad(value, h_s)

    expected = outcome()
    for module in [m for name, m in sys.modules.items() if name.startswith("graphkd.ops.")]:
        for name, size in {"numbers": 90, "side": 9, "height": 5}.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, lambda *_, size=size: size)
    torch.testing.assert_close(outcome(), expected)


def test_low_precision_is_near() -> None:
    pytest.importorskip("triton")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    h_s, h_t = torch.randn(2, 40, 16, device=device).unbind()
    for precision in ("tf32", "bf16"):
        options = {"backend": "triton", "precision": precision}
        for function, kernel in ((G.gcrd_loss, {}), (G.global_lsp_loss, {"kernel": "poly"})):
            value, exact = function(h_s, h_t, **kernel, **options), function(h_s, h_t, **kernel)
            torch.testing.assert_close(value, exact, rtol=2e-2, atol=1e-4)


@pytest.mark.parametrize("divergence", ["kl", "mse"])
def test_scatter_is_wired(divergence: str, monkeypatch) -> None:
    """Replaces torch_scatter's two functions; the contract runs the real ones if installed."""
    called = []

    def scatter_add(values, segment, dim_size):
        called.append("add")
        return segments.segment_sum(values, segment, dim_size)

    def scatter_log_softmax(values, segment, dim_size, eps):
        called.append("softmax")
        return segments.segment_log_softmax(values, segment, dim_size)

    stand_in = SimpleNamespace(scatter_add=scatter_add, scatter_log_softmax=scatter_log_softmax)
    monkeypatch.setattr(scatter, "_torch_scatter", lambda: stand_in)
    h_s = torch.randn(9, 5, dtype=torch.float64, requires_grad=True)
    h_t, edge_index = torch.randn(9, 7, dtype=torch.float64), torch.randint(0, 9, (2, 30))
    value, expected = (
        G.lsp_loss(h_s, h_t, edge_index, divergence=divergence, backend=backend)
        for backend in ("scatter", "reference")
    )
    assert set(called) == {"add", "softmax"}
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(torch.autograd.grad(value, h_s), torch.autograd.grad(expected, h_s))


def test_sparse_products_say_nothing() -> None:
    """Torch warns of its CSR support once in a process, but a user of LSP did not choose CSR."""
    code = (
        "import torch, graphkd.functional as G; h = torch.randn(9, 4, requires_grad=True);"
        "e = torch.randint(0, 9, (2, 30)); G.lsp_loss(h, torch.randn(9, 4), e).backward()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


@every(variants=True, where=lambda loss: loss.backends)
def test_fake_tensors(loss: Loss, options: dict) -> None:
    """Shapes without values, for tools that plan memory or export a model."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    if options.get("gamma") == "median":
        return
    with FakeTensorMode():
        h_s, h_t = torch.randn(9, 5, requires_grad=True), torch.randn(9, 5)
        value = loss.call(h_s, h_t, torch.zeros(2, 30, dtype=torch.long), **options)
        value.backward()
    assert value.shape == ()
    assert h_s.grad.shape == (9, 5)
