"""Rows far from the origin, close together: products of which only the late digits differ."""

import pytest
import torch
from torch import Tensor

import graphkd.functional as G
from tests.contract import KERNELS
from tests.test_accuracy import relative_error, value_and_gradient


@pytest.mark.parametrize(
    ("n", "origin", "apart"), [(100, 30, 1e-3), (300, 30, 1e-3), (300, 30, 1), (300, 0, 1e-3)]
)
@pytest.mark.parametrize(
    ("function", "options"),
    [
        *((G.global_lsp_loss, o) for o in KERNELS[:4]),
        *((G.lsp_loss, {**o, "divergence": d}) for o in KERNELS[:5] for d in ("kl", "mse")),
        (G.correlation_congruence_loss, {}),
        (G.correlation_congruence_loss, {"gamma": 2.0, "order": 4}),
    ],
)
def test_rows_that_nearly_agree(
    function, options: dict, n: int, origin: float, apart: float
) -> None:
    """Far from the origin, all products and cosines nearly agree: only late digits differ."""
    h_s = torch.randn(n, 16) + origin * torch.randn(1, 16)
    h_t = h_s + apart * torch.randn(n, 16)
    graph = (torch.randint(0, n, (2, 6 * n)),) if function is G.lsp_loss else ()
    reference = {**options, "backend": "reference"}
    truth, true_gradient = value_and_gradient(
        lambda h: function(h, h_t.double(), *graph, **reference), h_s.double()
    )
    value, gradient = value_and_gradient(lambda h: function(h, h_t, *graph, **options), h_s)
    assert relative_error(value, truth) < 1e-3
    assert relative_error(gradient, true_gradient) < 1e-3


@pytest.mark.parametrize("bipartite", [False, True])
@pytest.mark.parametrize("kernel", ["linear", "cosine", "poly"])
def test_lsp_keeps_the_digits_of_tight_clusters(kernel: str, bipartite: bool) -> None:
    """A node's neighbours nearly agree. So do both ends of an edge, if they are of one kind."""
    cluster = torch.arange(300) % 10
    h_s, h_t = (30 * torch.randn(10, 16)[cluster] + torch.randn(300, 16) for _ in range(2))
    src, dst = torch.randint(0, 300, (2, 20_000))
    edges = torch.stack([src, dst])[:, cluster[src] == cluster[dst]]
    ends = torch.randn(2, 300, 16)

    def loss(h: Tensor, backend: str = "chunked") -> Tensor:
        t, to_s, to_t = (x.to(h.dtype) for x in (h_t, *ends))
        pair = ((h, to_s), (t, to_t)) if bipartite else (h, t)
        return G.lsp_loss(*pair, edges, kernel=kernel, divergence="mse", backend=backend)

    truth = value_and_gradient(lambda h: loss(h, "reference"), h_s.double())
    for got, wanted in zip(value_and_gradient(loss, h_s), truth, strict=True):
        assert relative_error(got, wanted) < 1e-5


@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("origin", [100, 1000])
def test_vqgraphs_rows_far_from_all_codes(origin: float, temperature: float) -> None:
    """All distances are then large, and only their last digits tell the codes apart."""
    h_s, h_t = torch.randn(2, 60, 8) + origin
    codes = torch.randn(20, 8)

    def distances(h: Tensor) -> Tensor:
        gaps = (h.unsqueeze(1) - codes.double()).norm(dim=2)
        return (-gaps / temperature).log_softmax(dim=1)

    def plain(h: Tensor) -> Tensor:
        log_p, log_q = distances(h), distances(h_t.double())
        return temperature**2 * (log_q.exp() * (log_q - log_p)).sum(dim=1).mean()

    truth, true_gradient = value_and_gradient(plain, h_s.double())
    value, gradient = value_and_gradient(
        lambda h: G.vqgraph_loss(h, h_t, codes, temperature=temperature), h_s
    )
    assert relative_error(value, truth) < 1e-6
    assert relative_error(gradient, true_gradient) < 2e-4
