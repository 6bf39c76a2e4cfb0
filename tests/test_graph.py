"""Graph formats, validation, the implicit cache."""

import copy
import gc
import pickle

import pytest
import torch
from torch_geometric import EdgeIndex

import graphkd
import graphkd.functional as G
from graphkd import graph as graph_module

EDGES = torch.tensor([[1, 2, 0, 2, 2, 3], [0, 0, 1, 1, 1, 3]])  # a duplicate and a self loop


def formats() -> dict:
    adj_t = torch.sparse_coo_tensor(EDGES.flip(0), torch.rand(6), (5, 5))
    single = adj_t.coalesce()  # the duplicate edge is lost
    return {
        "int32": EDGES.int(),
        "shuffled": EDGES[:, torch.randperm(6)],
        "strided": torch.stack([EDGES, EDGES], dim=2)[:, :, 1],
        "EdgeIndex": EdgeIndex(EDGES),
        "sorted EdgeIndex": EdgeIndex(EDGES).sort_by("row").values,
        "Graph": graphkd.Graph(EDGES, 5),
        "COO": adj_t,
        "coalesced COO": single,
        "CSR": single.to_sparse_csr(),
        "CSC": single.to_sparse_csc(),
    }


@pytest.mark.parametrize("name", list(formats()))
@pytest.mark.parametrize("index", [None, torch.tensor([3, 1])], ids=["all", "index"])
def test_every_format_gives_the_same_value(name: str, index: torch.Tensor | None) -> None:
    h_s, h_t = torch.randn(5, 3), torch.randn(5, 4)
    edges = EDGES
    if name in ("coalesced COO", "CSR", "CSC"):
        edges = EDGES.unique(dim=1)
    expected = G.lsp_loss(h_s, h_t, edges, index=index)
    torch.testing.assert_close(G.lsp_loss(h_s, h_t, formats()[name], index=index), expected)
    gcn = graphkd.GCRDLoss(3, 4, 8, head="gcn").eval()
    torch.testing.assert_close(
        gcn(h_s, h_t, formats()[name], index=index), gcn(h_s, h_t, edges, index=index)
    )


def test_torch_sparse_tensors() -> None:
    torch_sparse = pytest.importorskip("torch_sparse")
    h_s, h_t = torch.randn(5, 3), torch.randn(5, 4)
    adj_t = torch_sparse.SparseTensor(row=EDGES[1], col=EDGES[0], sparse_sizes=(5, 5))
    torch.testing.assert_close(G.lsp_loss(h_s, h_t, adj_t), G.lsp_loss(h_s, h_t, EDGES))


def test_a_stand_in_with_the_interface_of_torch_sparse() -> None:
    """torch_sparse needs a compiler, so an object with the same interface tests its reading."""
    stand_in = type(
        "SparseTensor",
        (),
        {
            "__module__": "torch_sparse.tensor",
            "sizes": lambda self: [5, 5],
            "coo": lambda self: (EDGES[1], EDGES[0], None),
        },
    )()
    h_s, h_t = torch.randn(5, 3), torch.randn(5, 4)
    torch.testing.assert_close(G.lsp_loss(h_s, h_t, stand_in), G.lsp_loss(h_s, h_t, EDGES))


def test_duplicates_and_self_loops_count() -> None:
    h_s, h_t = torch.randn(5, 3), torch.randn(5, 4)
    rows = G.lsp_loss(h_s, h_t, EDGES, reduction="none")
    once = G.lsp_loss(h_s, h_t, EDGES.unique(dim=1), reduction="none")
    assert rows[1] != once[1]
    assert rows[3] == 0  # its self loop is its only edge
    assert rows[2] == rows[4] == 0


@pytest.mark.parametrize(
    ("edges", "error", "words"),
    [
        (EDGES.t(), ValueError, r"Transpose it with \.t\(\)"),
        (EDGES.float(), TypeError, "int64 or int32"),
        (EDGES.bool(), TypeError, "int64 or int32"),
        (torch.empty(2, 0), TypeError, r"dtype=torch\.long"),
        (torch.empty(0, dtype=torch.long), ValueError, r"\[2, E\]"),
        (torch.eye(5), TypeError, "dense_to_sparse"),
        (EDGES.tolist(), TypeError, "as_tensor"),
        (None, TypeError, "edge_index"),
        (torch.tensor([[0, 7], [1, 2]]), IndexError, "source node 7"),
        (torch.tensor([[0, 1], [1, 5]]), IndexError, "target node 5, but there are 5"),
        (torch.tensor([[0, -1], [1, 2]]), IndexError, "source node -1"),
        (torch.eye(4).to_sparse(), ValueError, r"\(5, 5\)"),
        (torch.eye(4).to_sparse_bsr((2, 2)), ValueError, r"\(5, 5\)"),
        (graphkd.Graph(EDGES, 6), ValueError, "6 source"),
    ],
    ids=range(14),
)
def test_wrong_graphs(edges, error: type, words: str) -> None:
    h_s, h_t = torch.randn(5, 3), torch.randn(5, 4)
    with pytest.raises(error, match=words):
        G.lsp_loss(h_s, h_t, edges)
    with pytest.raises(error, match=words):
        graphkd.GCRDLoss(3, 4, head="gcn")(h_s, h_t, edges)


def test_block_sparse_is_refused() -> None:
    with pytest.raises(TypeError, match="COO, CSR or CSC"):
        graphkd.Graph(torch.eye(4).to_sparse_bsr((2, 2)), 4)


def test_graph_is_immutable_and_copies() -> None:
    graph = graphkd.Graph(EDGES, 5)
    with pytest.raises(AttributeError, match="immutable"):
        graph.edges = EDGES[0]
    assert repr(graph) == "Graph(num_nodes=5, num_edges=6)"
    assert repr(graphkd.Graph(EDGES, (4, 6))) == "Graph(num_nodes=(4, 6), num_edges=6)"
    for other in (copy.deepcopy(graph), pickle.loads(pickle.dumps(graph)), graph.to("cpu")):
        assert torch.equal(other.edge_index, graph.edge_index)
    assert (graph.edges.dst.diff() >= 0).all()
    with pytest.raises(ValueError, match="at least 0"):
        graphkd.Graph(EDGES, -1)
    with pytest.raises(TypeError, match="integer"):
        graphkd.Graph(EDGES, 5.0)


def test_edges_and_weights_are_handed_out_as_copies() -> None:
    h_s, h_t, given = torch.randn(5, 3), torch.randn(5, 4), torch.rand(6)
    graph = graphkd.Graph(EDGES, 5, edge_weight=given)
    before, weight, edges = G.lsp_loss(h_s, h_t, graph), graph.edge_weight, graph.edge_index
    weight /= weight.sum()
    weight[0] = 0
    edges.zero_()
    given.zero_()
    assert torch.equal(G.lsp_loss(h_s, h_t, graph), before)
    assert graphkd.Graph(EDGES, 5).edge_weight is None


def test_the_cache_sees_changes_in_place() -> None:
    h_s, h_t = torch.randn(5, 3), torch.randn(5, 4)
    edges = EDGES.clone()
    before = G.lsp_loss(h_s, h_t, edges)
    assert G.lsp_loss(h_s, h_t, edges) == before
    edges[0, 0] = 4
    after = G.lsp_loss(h_s, h_t, edges)
    assert after == G.lsp_loss(h_s, h_t, edges.clone()) != before
    edges[0, 1] = 9
    with pytest.raises(IndexError, match="node 9"):
        G.lsp_loss(h_s, h_t, edges)
    edges.resize_(2, 0)
    assert G.lsp_loss(h_s, h_t, edges) == 0


def test_the_cache_sees_changes_of_an_edge_index_and_of_what_it_wraps() -> None:
    h_s, h_t = torch.randn(5, 3), torch.randn(5, 4)
    edges = EdgeIndex(EDGES.clone())
    for change in (edges, edges.as_tensor()):
        before = G.lsp_loss(h_s, h_t, edges)
        change[0, 0] = 4 if change is edges else 2
        assert G.lsp_loss(h_s, h_t, edges) == G.lsp_loss(h_s, h_t, edges.as_tensor().clone())
        assert G.lsp_loss(h_s, h_t, edges) != before


def test_the_cache_is_used_bounded_and_lets_go(monkeypatch: pytest.MonkeyPatch) -> None:
    h_s, h_t = torch.randn(5, 3), torch.randn(5, 4)
    graph_module._cache.clear()
    built = []
    original = graphkd.Graph.__init__
    monkeypatch.setattr(
        graphkd.Graph, "__init__", lambda self, *a: (built.append(1), original(self, *a))[1]
    )
    edges = EDGES.clone()
    for _ in range(3):
        G.lsp_loss(h_s, h_t, edges)
    assert len(built) == 1
    many = [EDGES.clone() for _ in range(20)]
    for other in many:
        G.lsp_loss(h_s, h_t, other)
    assert len(graph_module._cache) <= graph_module._CACHE_SIZE
    del many, other, edges
    gc.collect()
    assert len(graph_module._cache) == 0


def test_inference_mode_leaves_nothing_behind() -> None:
    h_s, h_t = torch.randn(5, 3, requires_grad=True), torch.randn(5, 4)
    edges = EDGES.clone()
    with torch.inference_mode():
        value = G.lsp_loss(h_s, h_t, edges)
        born_inside = EDGES.clone()
        assert G.lsp_loss(h_s, h_t, born_inside) == value
    G.lsp_loss(h_s, h_t, edges).backward()
    G.lsp_loss(h_s, h_t, born_inside).backward()


def test_bipartite_errors() -> None:
    src, dst = torch.randn(4, 3), torch.randn(6, 3)
    edges = torch.tensor([[3, 0], [5, 1]])
    G.lsp_loss((src, dst), (src, dst), edges)
    with pytest.raises(IndexError, match="source node 5"):
        G.lsp_loss((src, dst), (src, dst), edges.flip(0))
    with pytest.raises(TypeError, match="pairs"):
        G.lsp_loss((src, dst), dst, edges)
    with pytest.raises(ValueError, match="pair"):
        G.lsp_loss((src, dst, dst), (src, dst), edges)
    with pytest.raises(ValueError, match="same width"):
        G.lsp_loss((torch.randn(4, 4), dst), (src, dst), edges)
