"""Projection heads: kinds, the user's pair, selection, precision, refusals."""

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.nn import SAGEConv

import graphkd
import graphkd.functional as G
from graphkd.heads import ProjectionHead

N, EDGES = 20, torch.randint(0, 20, (2, 60), generator=torch.Generator().manual_seed(0))


def embeddings(dim_s: int = 6, dim_t: int = 8) -> tuple[Tensor, Tensor]:
    return torch.randn(N, dim_s, requires_grad=True), torch.randn(N, dim_t)


class SageHead(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = SAGEConv(dim, 4)

    def forward(self, h: Tensor, edge_index: Tensor) -> Tensor:
        return self.conv(h, edge_index)


@pytest.mark.parametrize("head", ["linear", "mlp", "gcn"])
def test_both_sides_learn_in_gcrd_and_only_the_student_in_fitnet(head: str) -> None:
    h_s, h_t = embeddings()
    gcrd = graphkd.GCRDLoss(6, 8, 16, head=head)
    assert {name.split(".")[0] for name, _ in gcrd.named_parameters()} == {"head_s", "head_t"}
    fitnet = graphkd.FitNetLoss(6, 8, head=head)
    assert {name.split(".")[0] for name, _ in fitnet.named_parameters()} == {"head_s"}
    for loss in (gcrd, fitnet):
        loss(h_s, h_t, EDGES).backward()
        assert all(p.grad is not None for p in loss.parameters())


def test_the_student_alone_is_projected_in_gcrd_if_asked() -> None:
    h_s, h_t = embeddings()
    for width in (8, 6):  # linearly, also to its own width; proj_dim changes nothing
        t, index = h_t[:, :width], torch.tensor([1, 5, 9])
        loss = graphkd.GCRDLoss(6, width, 3, head="student", queue_size=30)
        assert [*dict(loss.named_parameters())] == ["head_s.map.weight", "head_s.map.bias"]
        first = loss(h_s, t, ids=torch.arange(N))
        assert torch.equal(first, G.gcrd_loss(loss.head_s(h_s), t))
        second = loss(h_s, t, ids=torch.arange(N, 2 * N), index=index)
        p, q = loss.head_s(h_s[index]), t[index]
        torch.testing.assert_close(second, G.gcrd_loss(p, q, extra_keys=t))
    with pytest.raises(ValueError, match=r"h_t has width 8.*dim_t=6"):
        loss(h_s, h_t, ids=torch.arange(N))
    loss(h_s[:0], t[:0], ids=torch.arange(0)).backward()
    assert all((p.grad == 0).all() for p in loss.parameters())
    with pytest.raises(ValueError, match="'identity', 'student'"):
        graphkd.GCRDLoss(6, 8, head="teacher")
    with pytest.raises(ValueError, match="head must be one of"):
        graphkd.CRDLoss(6, 8, N, head="student")


def test_the_value_is_that_of_the_function_on_projected_rows() -> None:
    h_s, h_t = embeddings()
    loss = graphkd.GCRDLoss(6, 8, 16).eval()
    index = torch.tensor([1, 5, 9])
    p, q = loss.head_s(h_s[index]), loss.head_t(h_t[index])
    assert torch.equal(loss(h_s, h_t, index=index), G.gcrd_loss(p, q))


def test_row_wise_heads_see_the_selected_rows_only() -> None:
    h_s, h_t = embeddings()
    h_s.data[7] = torch.nan
    index = torch.arange(7)
    assert graphkd.GCRDLoss(6, 8, 16)(h_s, h_t, index=index).isfinite()


def test_graph_heads_see_the_whole_graph() -> None:
    h_s, h_t = embeddings()
    edges = torch.tensor([[7], [0]])
    loss = graphkd.GCRDLoss(6, 8, 16, head="gcn").eval()
    index = torch.arange(7)
    before = loss(h_s, h_t, edges, index=index)
    h_s.data[7] += 1  # not selected, but a neighbour of node 0
    assert loss(h_s, h_t, edges, index=index) != before
    with pytest.raises(TypeError, match="edge_index="):
        loss(h_s, h_t)


@pytest.mark.parametrize("build", [graphkd.GCRDLoss, graphkd.FitNetLoss])
def test_a_pair_of_the_users(build: type) -> None:
    h_s, h_t = embeddings()
    pair = (nn.Linear(6, 4), nn.Linear(8, 4))
    loss = build(6, 8, head=pair)
    loss(h_s, h_t, index=torch.arange(5)).backward()
    assert all(head.weight.grad is not None for head in pair)
    convs = build(6, 8, head=[SageHead(6), SageHead(8)], head_takes_edges=True)
    convs(h_s, h_t, EDGES, index=torch.arange(5)).backward()
    assert all(p.grad is not None for p in convs.parameters())
    with pytest.raises(ValueError, match="same width"):
        build(6, 8, head=(nn.Linear(6, 4), nn.Linear(8, 5)))(h_s, h_t)
    for bad in ((nn.Linear(6, 4),), nn.Linear(6, 4), 3, (nn.Linear(6, 4), None)):
        with pytest.raises(ValueError, match="pair of modules"):
            build(6, 8, head=bad)


def test_what_heads_refuse() -> None:
    h_s, h_t = embeddings()
    with pytest.raises(ValueError, match="'linear', 'mlp', 'gcn', 'identity'"):
        graphkd.GCRDLoss(6, 8, head="resnet")
    with pytest.raises(ValueError, match="head='identity'"):
        graphkd.GCRDLoss(6, 8, head="identity")
    with pytest.raises(ValueError, match="width 6, but the loss was built with dim_s=5"):
        graphkd.GCRDLoss(5, 8)(h_s, h_t)
    with pytest.raises(ValueError, match="at least 1"):
        graphkd.GCRDLoss(0, 8)
    with pytest.raises(TypeError, match="integer"):
        graphkd.GCRDLoss(6, 8.0)
    with pytest.raises(ValueError, match=r"float32.*float64"):
        graphkd.GCRDLoss(6, 8)(h_s.double(), h_t)


def test_batchnorm_with_one_row() -> None:
    h_s, h_t = torch.randn(1, 6, requires_grad=True), torch.randn(1, 8)
    loss = graphkd.GCRDLoss(6, 8)
    with pytest.raises(ValueError, match=r"at least two rows.*\.eval\(\)"):
        loss(h_s, h_t)
    assert loss.eval()(h_s, h_t) == 0
    assert graphkd.GCRDLoss(6, 8, head="linear")(h_s, h_t) == 0
    for kind in ("mlp", "gcn", "linear"):
        none = graphkd.GCRDLoss(6, 8, head=kind)(h_s[:0], h_t[:0], EDGES[:, :0])
        assert none == 0
        none.backward()
    empty = torch.zeros(1, dtype=torch.bool)
    assert graphkd.GCRDLoss(6, 8)(h_s, h_t, index=empty) == 0


def test_half_precision_embeddings_meet_float32_heads() -> None:
    h_s, h_t = embeddings()
    for head in ("linear", "mlp", "gcn"):
        loss = graphkd.GCRDLoss(6, 8, 16, head=head).eval()
        full = loss(h_s.bfloat16().float(), h_t.half().float(), EDGES)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(loss(h_s.bfloat16(), h_t.half(), EDGES), full)


class Halved(nn.Linear):
    """As FSDP's policy makes of a head that is sharded on its own."""

    def forward(self, h: Tensor) -> Tensor:
        return super().forward(h).bfloat16()


def test_a_head_that_returns_half_precision_changes_no_dtype() -> None:
    h_s, h_t = embeddings()
    loss = graphkd.GCRDLoss(6, 8, head=(Halved(6, 4), Halved(8, 4)))
    p, q = loss.head_s(h_s).float(), loss.head_t(h_t).float()
    assert torch.equal(loss(h_s, h_t), G.gcrd_loss(p, q))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_heads_in_half_precision_are_refused_with_remedies_that_help(dtype: torch.dtype) -> None:
    h_s, h_t = embeddings()
    for loss in (graphkd.GCRDLoss(6, 8), graphkd.FitNetLoss(6, 8), graphkd.VIDLoss(6, 8)):
        for h in (h_s, h_s.to(dtype)):
            with pytest.raises(ValueError, match=r"float16, .*\.to\(torch.float32\).*ignored_mod"):
                loss.to(dtype)(h, h_t)
        assert loss.to(torch.float32)(h_s, h_t).isfinite()


def test_reset_parameters_draws_anew() -> None:
    pair = (nn.Sequential(nn.Linear(6, 4), nn.ReLU()), nn.Linear(8, 4))
    for loss in (graphkd.GCRDLoss(6, 8), graphkd.GCRDLoss(6, 8, head="gcn"),
                 graphkd.GCRDLoss(6, 8, head=pair), graphkd.FitNetLoss(6, 8)):  # fmt: skip
        before = [p.clone() for p in loss.parameters()]
        loss.reset_parameters()
        moved = [not torch.equal(a, b) for a, b in zip(before, loss.parameters(), strict=True)]
        assert any(moved)


def test_projection_head_alone() -> None:
    assert ProjectionHead("identity", 3, 3)(torch.ones(2, 3)).equal(torch.ones(2, 3))
    with pytest.raises(ValueError, match="cannot change the width"):
        ProjectionHead("identity", 3, 4)
    assert (ProjectionHead("mlp", 3, 4)(torch.randn(5, 3)) >= 0).all()


def test_the_student_decides_the_precision() -> None:
    h_s, h_t = embeddings()
    loss = graphkd.GCRDLoss(6, 8)
    assert loss(h_s, h_t.double()).dtype == torch.float32
    with pytest.raises(ValueError, match=r"float32, but the student's.*float64"):
        loss(h_s.double(), h_t)
