"""No N × N matrix: peak memory grows linearly, and indices beyond int32 are right."""

import sys

import pytest
import torch

import graphkd.functional as G
from tests.peaks import peak_mib

MEASURE = """
import graphkd.functional as G
def peak(n, name, kernel):
    torch.manual_seed(0)
    h_s, h_t = torch.randn(n, 32, requires_grad=True), torch.randn(n, 32)
    edges = torch.randint(0, n, (2, 8 * n))
    def step(h_s, h_t, edges):
        if name == "gcrd":
            # Two labels: N²/2 pairs, which nothing may hold. Of given pairs there are E.
            labels = {"labels": torch.arange(len(h_s)) % 2}
            given = {"labels": labels, "pairs": {"positives": edges}}
            given["drawn"] = {"num_negatives": 64}
            return G.gcrd_loss(h_s, h_t, symmetric=True, **given.get(kernel, {}))
        if name == "lsp":
            return G.lsp_loss(h_s, h_t, edges, kernel=kernel)
        return G.global_lsp_loss(h_s, h_t, kernel=kernel)
    # libraries and workspaces are loaded
    step(h_s[:64], h_t[:64], edges[:, :100] % 64).backward()
    h_s.grad = None
    return rise(lambda: step(h_s, h_t, edges).backward())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("name", "kernel", "sizes"),
    [
        ("gcrd", "cosine", (4_000, 8_000, 16_000)),
        ("gcrd", "labels", (4_000, 8_000, 16_000)),
        ("gcrd", "pairs", (4_000, 8_000, 16_000)),
        ("gcrd", "drawn", (20_000, 40_000, 80_000)),
        ("global_lsp", "cosine", (30_000, 60_000, 120_000)),
        ("global_lsp", "poly", (4_000, 8_000, 16_000)),
        ("global_lsp", "rbf", (3_000, 6_000, 12_000)),
        ("lsp", "cosine", (30_000, 60_000, 120_000)),
        ("lsp", "l2", (30_000, 60_000, 120_000)),
    ],
)
def test_peak_memory_is_linear(name: str, kernel: str, sizes: tuple[int, ...]) -> None:
    small, middle, large = (peak_mib(MEASURE, f"peak({n}, {name!r}, {kernel!r})") for n in sizes)
    # Twice the nodes: linear memory doubles, quadratic memory grows fourfold.
    assert middle <= 3 * small + 64
    assert large <= 3 * middle + 64
    dense = sizes[2] ** 2 * 4 / 2**20
    assert large < 0.25 * dense
    assert large < 200 + sizes[2] * 5e-3


N = 46_341  # the first number whose square exceeds int32


def two_clusters() -> tuple[torch.Tensor, int, int]:
    first = 20_000
    h = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat_interleave(
        torch.tensor([first, N - first]), 0
    )
    return h, first, N - first


def test_gcrd_beyond_int32() -> None:
    h, a, b = two_clusters()
    h.requires_grad_()
    value = G.gcrd_loss(h, h.detach(), temperature=1.0)
    e = torch.e
    expected = (a * torch.log(torch.tensor(a + b / e)) + b * torch.log(torch.tensor(b + a / e))) / N
    torch.testing.assert_close(value, expected)
    value.backward()
    assert h.grad.isfinite().all()
    assert (h.grad[:10] == h.grad[0]).all()


def test_global_lsp_beyond_int32() -> None:
    h, a, b = two_clusters()
    h.requires_grad_()
    teacher = torch.ones(N, 1)
    value = G.global_lsp_loss(h, teacher, kernel="poly")
    torch.testing.assert_close(value, torch.tensor(2.0 * a * b / N**2))
    value.backward()
    assert h.grad.isfinite().all()


@pytest.mark.parametrize("backend", ["chunked", "reference"])
@pytest.mark.parametrize("kernel", ["cosine", "rbf"])
def test_a_hub_keeps_its_digits(kernel: str, backend: str) -> None:
    """The values of its 100,000 edges, one by one in float32, would lose four of them."""
    hub = torch.stack([torch.arange(1, 100_001), torch.zeros(100_000, dtype=torch.long)])
    h_s, h_t = torch.randn(100_001, 8), torch.randn(100_001, 8)
    value = G.lsp_loss(h_s, h_t, hub, kernel=kernel, backend=backend)
    truth = G.lsp_loss(h_s.double(), h_t.double(), hub, kernel=kernel, backend=backend)
    torch.testing.assert_close(value.double(), truth, rtol=3e-6, atol=0)


def test_the_attention_of_a_large_graph_keeps_its_digits() -> None:
    h_s, h_t, batch = torch.randn(10**6, 4), torch.randn(10**6, 4), torch.zeros(10**6).long()
    value = G.attention_transfer_loss(h_s, h_t, batch=batch)
    truth = G.attention_transfer_loss(h_s.double(), h_t.double(), batch=batch)
    torch.testing.assert_close(value.double(), truth, rtol=1e-6, atol=0)
