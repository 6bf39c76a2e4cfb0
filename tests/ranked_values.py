"""Values and gradients on several ranks: each case runs on all, with the same random numbers."""

import copy
import itertools

import torch
import torch.distributed as dist
from torch import Tensor, nn

import graphkd
import graphkd.functional as G
from graphkd.distributed import meet
from tests.contract import KERNELS
from tests.ranks import Part, case, doubles

N = 13

# Values and gradients -----------------------------------------------------------------------------


@case
def global_lsp(part: Part) -> None:
    h_s, h_t = doubles(N, 5), doubles(N, 7)
    h_s[3], h_t[4] = 0, 0
    h_s[6] = h_s[5]
    ways = ({}, {"chunk_size": 3}, {"reduction": "sum"})
    for layout in part.layouts(N):
        mine = h_t[part.rows(layout)]
        for options in KERNELS:
            for way in ways:
                part.check(
                    lambda x, o=options, w=way: G.global_lsp_loss(x, h_t, **o, **w),
                    lambda x, y=mine, o=options, w=way: G.global_lsp_loss(
                        x, y, **o, **w, process_group=part.group
                    ),
                    [h_s],
                    layout,
                )


@case
def gcrd(part: Part) -> None:
    p, q, keys = doubles(N, 5), doubles(N, 5), doubles(4, 5)
    p[3], q[4] = 0, 0
    # At 0.002, exponentials overflow unless a maximum is kept.
    ways = (
        {}, {"temperature": 0.002}, {"chunk_size": 3}, {"reduction": "sum"},
        {"num_negatives": 6}, {"num_negatives": 13}, {"num_negatives": 5, "temperature": 0.002},
        {"teacher_temperature": 0.1}, {"teacher_temperature": 0.01, "temperature": 0.002},
    )  # fmt: skip
    seeded = torch.Generator().manual_seed
    for layout in part.layouts(N):
        mine = q[part.rows(layout)]
        for way in ways:
            for symmetric in (False, True):
                o = {**way, "symmetric": symmetric}
                part.check(
                    lambda x, o=o: G.gcrd_loss(x, q, extra_keys=keys, generator=seeded(1), **o),
                    # The first rank draws for all ranks; the generators of the others do not count.
                    lambda x, y=mine, o=o: G.gcrd_loss(
                        x, y, extra_keys=keys[part.rank :: part.world],
                        generator=seeded(1 + part.rank), **o, process_group=part.group,
                    ),
                    [p],
                    layout,
                )  # fmt: skip


@case
def gcrd_with_a_teacher_side_that_learns(part: Part) -> None:
    soft = {"teacher_temperature": 0.1, "chunk_size": 2}
    for symmetric, options in itertools.product((False, True), ({}, {"num_negatives": 6}, soft)):
        pair = nn.Identity(), nn.Identity()
        tau = nn.Parameter(torch.tensor(0.1, dtype=torch.float64))
        one = graphkd.GCRDLoss(5, 5, head=pair, symmetric=symmetric, temperature=tau, **options)
        shared = copy.deepcopy(one)
        shared.process_group = part.group
        for layout in part.layouts(N):
            # The teacher's embeddings get no gradient, but the outputs of its head do.
            one.head_t, shared.head_t = nn.Linear(5, 5).double(), nn.Linear(5, 5).double()
            shared.head_t.load_state_dict(one.head_t.state_dict())
            rows, h_s, h_t = part.rows(layout), doubles(N, 5), doubles(N, 5)
            weight, own = doubles(N).abs(), torch.Generator().manual_seed(1)
            one.zero_grad()
            shared.zero_grad()
            one(h_s, h_t, weight=weight, generator=torch.Generator().manual_seed(1)).backward()
            shared(h_s[rows], h_t[rows], weight=weight[rows], generator=own).backward()
            for a, b in zip(one.parameters(), shared.parameters(), strict=True):
                dist.all_reduce(b.grad, group=part.group)
                torch.testing.assert_close(b.grad / part.world, a.grad)


def halo(part: Part, layout: list[int], edges: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """This rank's nodes and their neighbours, the edges into its own nodes, and their places."""
    own = torch.arange(N)[part.rows(layout)]
    mine = edges[:, torch.isin(edges[1], own)]
    nodes = torch.cat([own, mine[0][~torch.isin(mine[0], own)].unique()])
    local = torch.full((N,), -1)
    local[nodes] = torch.arange(nodes.numel())
    return nodes, local[mine], torch.arange(own.numel())


@case
def lsp_with_halo_nodes(part: Part) -> None:
    h_s, h_t = doubles(N, 5), doubles(N, 7)
    edges = torch.randint(0, N, (2, 40))
    edges = edges[:, edges[1] != 2]  # a centre without neighbours
    weight = torch.rand(N, dtype=torch.float64)
    for layout in part.layouts(N):
        nodes, local, own = halo(part, layout, edges)
        for options in KERNELS:
            for way, weighted in (
                ({}, False), ({"divergence": "mse"}, False), ({"reduction": "sum"}, True),
                ({"backend": "reference"}, False), ({}, True),
            ):  # fmt: skip
                both = [x.clone().requires_grad_() for x in (h_s, weight)]
                mine = [x[nodes].requires_grad_() for x in (h_s, weight)]
                more, here = ({"weight": x[1]} if weighted else {} for x in (both, mine))
                value = G.lsp_loss(both[0], h_t, edges, **options, **way, **more)
                shared = G.lsp_loss(
                    mine[0], h_t[nodes], local, index=own, **options, **way, **here,
                    process_group=part.group,
                )  # fmt: skip
                torch.testing.assert_close(shared, value)
                value.backward()
                shared.backward()
                # A halo row's gradient belongs to its owner. Here the ranks' are summed.
                for one, x in zip(both, mine, strict=True):
                    if x.grad is None:
                        continue
                    total = torch.zeros_like(one).index_add(0, nodes, x.grad)
                    dist.all_reduce(total, group=part.group)
                    torch.testing.assert_close(total / part.world, one.grad)


@case
def ddp_false_gives_the_plain_gradient(part: Part) -> None:
    h_s, h_t, edges = doubles(N, 5), doubles(N, 5), torch.randint(0, N, (2, 40))
    layout = next(part.layouts(N))
    mine = h_t[part.rows(layout)]
    group = {"process_group": part.group, "ddp": False}
    for one, shared in (
        (lambda x: G.gcrd_loss(x, h_t), lambda x: G.gcrd_loss(x, mine, **group)),
        (
            lambda x: G.global_lsp_loss(x, h_t, kernel="poly"),
            lambda x: G.global_lsp_loss(x, mine, kernel="poly", **group),
        ),
        (lambda x: G.global_lsp_loss(x, h_t), lambda x: G.global_lsp_loss(x, mine, **group)),
    ):
        part.check(one, shared, [h_s], layout, factor=1)
    nodes, local, own = halo(part, layout, edges)
    one, x = h_s.clone().requires_grad_(), h_s[nodes].requires_grad_()
    G.lsp_loss(one, h_t, edges).backward()
    G.lsp_loss(x, h_t[nodes], local, index=own, **group).backward()
    total = torch.zeros_like(one).index_add(0, nodes, x.grad)
    dist.all_reduce(total, group=part.group)
    torch.testing.assert_close(total, one.grad)


@case
def index_selects_local_rows(part: Part) -> None:
    h_s, h_t = doubles(N, 5), doubles(N, 5)
    mask = torch.arange(N) % 3 != 0
    for layout in part.layouts(N):
        rows = part.rows(layout)
        for loss in (G.gcrd_loss, G.global_lsp_loss):
            part.check(
                lambda x, loss=loss: loss(x, h_t, index=mask),
                lambda x, loss=loss, r=rows: loss(
                    x, h_t[r], index=mask[r], process_group=part.group
                ),
                [h_s],
                layout,
            )


@case
def nothing_on_any_rank(part: Part) -> None:
    edges = torch.empty(2, 0, dtype=torch.long)
    for loss in (G.gcrd_loss, G.global_lsp_loss, lambda x, y, **o: G.lsp_loss(x, y, edges, **o)):
        x = torch.zeros(0, 4, requires_grad=True)
        value = loss(x, torch.zeros(0, 4), process_group=part.group)
        assert value == 0
        value.backward()
        assert x.grad.shape == (0, 4)
    tau = nn.Parameter(torch.tensor(0.1))
    loss = graphkd.GCRDLoss(4, 4, 3, temperature=tau, process_group=part.group)
    loss(x, torch.zeros(0, 4)).backward()
    # DDP waits for the gradient of every parameter.
    assert all(p.grad is not None for p in loss.parameters())
    centres = torch.zeros(3, 4, requires_grad=True)
    G.lsp_loss(centres, centres.detach(), edges, process_group=part.group).backward()
    assert (centres.grad == 0).all()


@case
def nan_and_inf_show_on_every_rank(part: Part) -> None:
    h = torch.randn(4, 5)
    if part.rank == part.world - 1:
        h[1, 2] = torch.nan
    ring = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    for loss in (G.gcrd_loss, G.global_lsp_loss, lambda x, y, **o: G.lsp_loss(x, y, ring, **o)):
        assert loss(h, torch.randn(4, 5), process_group=part.group).isnan()
    for kernel in ("poly", "l2", "rbf"):
        value = G.global_lsp_loss(h, torch.randn(4, 5), kernel=kernel, process_group=part.group)
        assert value.isnan()


@case
def median_bandwidth_of_many_rows(part: Part) -> None:
    n = 1500
    h_s, h_t = doubles(n, 3), doubles(n, 4)
    layout = list(part.layouts(n))[1]
    options = {"kernel": "rbf", "gamma": "median"}
    rows = part.rows(layout)
    one = G.global_lsp_loss(h_s, h_t, **options, generator=torch.Generator().manual_seed(1))
    # The first rank draws for all ranks; the generators of the others have no effect.
    own = torch.Generator().manual_seed(1 + part.rank)
    shared = G.global_lsp_loss(
        h_s[rows], h_t[rows], **options, generator=own, process_group=part.group
    )
    torch.testing.assert_close(shared, one, rtol=1e-12, atol=0)


@case
def median_over_the_edges_of_all_ranks(part: Part) -> None:
    for dtype in (torch.float32, torch.float64):
        for layout in part.layouts(N):
            for lengths in (
                torch.rand(N, dtype=dtype),
                torch.rand(N, dtype=dtype) * 1e-30,
                torch.zeros(N, dtype=dtype),
                torch.arange(N).to(dtype) // 3,
                torch.full((N,), torch.inf, dtype=dtype),
                torch.full((N,), torch.nan, dtype=dtype),
            ):
                ranks = meet("test", part.group, rows=[0])
                median = ranks.median(lengths[part.rows(layout)])
                torch.testing.assert_close(median, lengths.median(), rtol=0, atol=0, equal_nan=True)
            assert ranks.median(lengths[:0]) == torch.inf
