"""The teacher's side computed once: the same loss, and refused where it does not belong."""

import pytest
import torch

import graphkd
import graphkd.functional as G

EDGES = torch.randint(0, 40, (2, 160), generator=torch.Generator().manual_seed(0))


def pair(dim_t: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    h_s = torch.randn(40, 5, dtype=torch.float64, requires_grad=True)
    return h_s, torch.randn(40, dim_t, dtype=torch.float64)


def assert_same(value: torch.Tensor, expected: torch.Tensor, h_s: torch.Tensor) -> None:
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(
        torch.autograd.grad(value.sum(), h_s), torch.autograd.grad(expected.sum(), h_s)
    )


@pytest.mark.parametrize("kernel", ["cosine", "linear"])
@pytest.mark.parametrize("index", [None, torch.arange(40) % 3 != 0])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("dim_t", [3, 5, 7])
def test_global_lsp(kernel: str, index: torch.Tensor | None, reduction: str, dim_t: int) -> None:
    h_s, h_t = pair(dim_t)
    loss = graphkd.GlobalLSPLoss(kernel, reduction=reduction)
    teacher = loss.precompute(h_t, index=index)
    assert_same(loss(h_s, teacher, index=index), loss(h_s, h_t, index=index), h_s)


@pytest.mark.parametrize("kernel", ["cosine", "linear", "poly", "l2", "rbf"])
@pytest.mark.parametrize("index", [None, torch.arange(40) % 3 != 0])
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_lsp(kernel: str, index: torch.Tensor | None, backend: str) -> None:
    h_s, h_t = pair()
    gamma = "median" if kernel == "rbf" else 0.5
    loss = graphkd.LSPLoss(kernel, gamma=gamma, backend=backend)
    teacher = loss.precompute(h_t, EDGES, index=index)
    assert_same(loss(h_s, teacher, EDGES, index=index), loss(h_s, h_t, EDGES, index=index), h_s)


def test_bipartite_lsp() -> None:
    h_s, h_t = pair()
    sides_s, sides_t = (h_s, torch.randn_like(h_s)), (h_t, h_t.flip(0))
    teacher = G.precompute_lsp(sides_t, EDGES)
    assert_same(G.lsp_loss(sides_s, teacher, EDGES), G.lsp_loss(sides_s, sides_t, EDGES), h_s)


def test_a_float32_student_of_a_float16_teacher() -> None:
    h_s, h_t = pair()
    h_t, h_s = h_t.half(), h_s.detach().float().requires_grad_()
    assert_same(
        G.global_lsp_loss(h_s, G.precompute_global_lsp(h_t)), G.global_lsp_loss(h_s, h_t), h_s
    )
    assert_same(
        G.lsp_loss(h_s, G.precompute_lsp(h_t, EDGES), EDGES), G.lsp_loss(h_s, h_t, EDGES), h_s
    )


def test_the_same_graph_in_another_form_is_the_same() -> None:
    h_s, h_t = pair()
    teacher = G.precompute_lsp(h_t, EDGES)
    graph = graphkd.Graph(EDGES[:, torch.randperm(160)].sort(dim=1, stable=True).values, 40)
    with pytest.raises(ValueError, match="another graph: it has 160 edges, this one 160 others"):
        G.lsp_loss(h_s, teacher, graph)
    shuffled = EDGES.clone()
    assert_same(G.lsp_loss(h_s, teacher, shuffled), G.lsp_loss(h_s, h_t, EDGES), h_s)


def test_lsp_is_refused_elsewhere() -> None:
    h_s, h_t = pair()
    teacher = G.precompute_lsp(h_t, EDGES)
    with pytest.raises(ValueError, match="another graph: it has 160 edges, this one 150"):
        G.lsp_loss(h_s, teacher, EDGES[:, :150])
    with pytest.raises(ValueError, match="kernel='cosine'; this call has kernel='poly'"):
        G.lsp_loss(h_s, teacher, EDGES, kernel="poly")
    with pytest.raises(ValueError, match="another index; it had all rows"):
        G.lsp_loss(h_s, teacher, EDGES, index=torch.arange(4))
    with pytest.raises(ValueError, match=r"\(39, 5\) and \(40, 7\)"):
        G.lsp_loss(h_s[:39], teacher, EDGES)
    with pytest.raises(ValueError, match="kernel's name"):
        G.precompute_lsp(h_t, EDGES, kernel=lambda x, y: (x * y).sum(-1))
    h_t[0, 0] = 5
    with pytest.raises(ValueError, match="changed in place"):
        G.lsp_loss(h_s, teacher, EDGES)


def test_global_lsp_is_refused_elsewhere() -> None:
    h_s, h_t = pair()
    teacher = G.precompute_global_lsp(h_t)
    with pytest.raises(ValueError, match="kernel='cosine'; this call has kernel='linear'"):
        G.global_lsp_loss(h_s, teacher, kernel="linear")
    with pytest.raises(ValueError, match="max_samples=8"):
        G.global_lsp_loss(h_s, teacher, max_samples=8)
    with pytest.raises(ValueError, match="another index"):
        G.global_lsp_loss(h_s, teacher, index=torch.arange(4))
    with pytest.raises(ValueError, match=r"\(39, 5\) and \(40, 7\)"):
        G.global_lsp_loss(h_s[:39], teacher)
    with pytest.raises(ValueError, match="'rbf', of which nothing can be reused"):
        G.precompute_global_lsp(h_t, kernel="rbf")
    assert "GlobalLSPTeacher(kernel='cosine'" in repr(teacher)
    h_t.mul_(2)
    with pytest.raises(ValueError, match="changed in place"):
        G.global_lsp_loss(h_s, teacher)


def test_a_teacher_from_inference_mode() -> None:
    h_s, _ = pair()
    with torch.inference_mode():
        h_t = torch.randn(40, 7, dtype=torch.float64)
    G.global_lsp_loss(h_s, G.precompute_global_lsp(h_t)).backward()
    G.lsp_loss(h_s, G.precompute_lsp(h_t, EDGES), EDGES).backward()
