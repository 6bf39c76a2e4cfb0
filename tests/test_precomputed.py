"""The teacher's side computed once: it gives the same loss, and a wrong use is refused."""

import copy
import functools
import pickle

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
    for weight in (None, torch.rand(40, dtype=torch.float64)):
        given = {"index": index, "weight": weight}
        assert_same(loss(h_s, teacher, **given), loss(h_s, h_t, **given), h_s)


@pytest.mark.parametrize("kernel", ["cosine", "linear", "poly", "l2", "rbf"])
@pytest.mark.parametrize("index", [None, torch.arange(40) % 3 != 0])
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_lsp(kernel: str, index: torch.Tensor | None, backend: str) -> None:
    h_s, h_t = pair()
    gamma = "median" if kernel == "rbf" else 0.5
    loss = graphkd.LSPLoss(kernel, gamma=gamma, backend=backend)
    teacher = loss.precompute(h_t, EDGES, index=index)
    assert_same(loss(h_s, teacher, EDGES, index=index), loss(h_s, h_t, EDGES, index=index), h_s)


@pytest.mark.parametrize("gamma", [0.5, "median"])
def test_lsp_of_a_weighted_graph(gamma: float | str) -> None:
    h_s, h_t = pair()
    loss, weight = graphkd.LSPLoss("rbf", gamma=gamma), torch.rand(160, dtype=torch.float64)
    weight[::3] = 0
    expected = functools.partial(loss, h_s, h_t, EDGES, edge_weight=weight)
    graph = graphkd.Graph(EDGES, 40, edge_weight=weight)
    for teacher in (
        loss.precompute(h_t, EDGES, edge_weight=weight / 2),
        copy.deepcopy(loss.precompute(h_t, graph)),
    ):
        assert_same(loss(h_s, teacher, EDGES, edge_weight=weight), expected(), h_s)
        assert_same(loss(h_s, teacher, graph), expected(), h_s)
    for other, told in ((None, "without edge_weight"), (weight.roll(1), "with another")):
        teacher = loss.precompute(h_t, EDGES, edge_weight=other)
        if gamma == "median":
            with pytest.raises(ValueError, match=f"{told}.*same edge_weight to precompute_lsp"):
                loss(h_s, teacher, EDGES, edge_weight=weight)
        else:
            assert_same(loss(h_s, teacher, EDGES, edge_weight=weight), expected(), h_s)


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


@pytest.mark.parametrize("index", [None, torch.arange(40) % 3 != 0])
def test_made_in_inference_mode(index: torch.Tensor | None) -> None:
    h_s, h_t = pair()
    with torch.inference_mode():
        rows = h_t + 0
        lsp = G.precompute_lsp(rows, EDGES, index=index)
        gap = G.precompute_global_lsp(rows, index=index)
    assert_same(
        G.lsp_loss(h_s, lsp, EDGES, index=index), G.lsp_loss(h_s, h_t, EDGES, index=index), h_s
    )
    assert_same(
        G.global_lsp_loss(h_s, gap, index=index), G.global_lsp_loss(h_s, h_t, index=index), h_s
    )


def test_a_mask_that_changed_is_another_mask() -> None:
    h_s, h_t = pair()
    mask = torch.arange(40) % 3 != 0
    lsp = G.precompute_lsp(h_t, EDGES, index=mask)
    gap = G.precompute_global_lsp(h_t, index=mask)
    mask.logical_not_()
    for call in (
        lambda: G.lsp_loss(h_s, lsp, EDGES, index=mask),
        lambda: G.global_lsp_loss(h_s, gap, index=mask),
    ):
        with pytest.raises(ValueError, match="another index"):
            call()
    mask.logical_not_()
    h_t.zero_()
    with pytest.raises(ValueError, match="changed in place"):
        G.global_lsp_loss(h_s, gap, index=mask)


@pytest.mark.parametrize("index", [None, torch.arange(40) % 3 != 0])
@pytest.mark.parametrize("graph", [EDGES, graphkd.Graph(EDGES, 40)], ids=["tensor", "Graph"])
def test_compiles(index: torch.Tensor | None, graph) -> None:
    torch._dynamo.reset()
    h_s, h_t = pair()
    lsp, gap = G.precompute_lsp(h_t, graph, index=index), G.precompute_global_lsp(h_t)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def compiled(h: torch.Tensor) -> torch.Tensor:
        return G.lsp_loss(h, lsp, graph, index=index) + G.global_lsp_loss(h, gap)

    expected = G.lsp_loss(h_s, h_t, EDGES, index=index) + G.global_lsp_loss(h_s, h_t)
    assert_same(compiled(h_s), expected, h_s)


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x)), lambda x: x.to("cpu")],
    ids=["deepcopy", "pickle", "to"],
)
def test_copies_serve(copied) -> None:
    h_s, h_t = pair()
    h_t.mul_(2)
    lsp = copied(G.precompute_lsp(h_t, EDGES, kernel="l2"))
    gap = copied(G.precompute_global_lsp(h_t))
    assert_same(
        G.lsp_loss(h_s, lsp, EDGES, kernel="l2"), G.lsp_loss(h_s, h_t, EDGES, kernel="l2"), h_s
    )
    assert_same(G.global_lsp_loss(h_s, gap), G.global_lsp_loss(h_s, h_t), h_s)
