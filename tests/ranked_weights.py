"""Weights and temperatures on several ranks; each case runs on all, with the same numbers."""

import pytest
import torch
import torch.distributed as dist

import graphkd.functional as G
from tests.contract import KERNELS
from tests.ranked_values import N, halo
from tests.ranks import Part, case, doubles


@case
def weighted_global_lsp(part: Part) -> None:
    h_s, h_t, weight = doubles(N, 5), doubles(N, 7), torch.rand(N, dtype=torch.float64)
    weight[2] = weight[11] = 0
    for layout in part.layouts(N):
        mine = h_t[part.rows(layout)]
        for options in KERNELS:
            for way in ({}, {"reduction": "sum", "chunk_size": 3}):
                part.check(
                    lambda x, w, o=options, y=way: G.global_lsp_loss(x, h_t, weight=w, **o, **y),
                    lambda x, w, o=options, y=way, t=mine: G.global_lsp_loss(
                        x, t, weight=w, **o, **y, process_group=part.group
                    ),
                    [h_s, weight],
                    layout,
                )


@case
def weights_of_all_ranks_or_none(part: Part) -> None:
    h_s, group = doubles(4, 5).requires_grad_(part.rank > 0), {"process_group": part.group}
    for kernel in ("cosine", "poly"):  # the first rank has no gradient, but has a part in others'
        for equal in (0.0, 1e-30, 3.0, 1e30):
            weight = torch.full((4,), equal)
            given = (h_s.float(), doubles(4, 3).float()), {"kernel": kernel, **group}
            value = G.global_lsp_loss(*given[0], weight=weight, **given[1])
            truth = G.global_lsp_loss(*given[0], **given[1]) if equal else torch.tensor(0.0)
            torch.testing.assert_close(value, truth)
            if part.rank:
                assert torch.autograd.grad(value, h_s)[0].isfinite().all()
    own = {"weight": torch.ones(4)} if part.rank else {}
    with pytest.raises(ValueError, match="differ in weight: none on rank 0; given on rank"):
        G.global_lsp_loss(h_s, doubles(4, 3), **own, **group)


@case
def gcrd_with_weights_that_learn(part: Part) -> None:
    p, q, weight = doubles(N, 5), doubles(N, 5), doubles(N).abs()
    p[3], weight[2], weight[5] = 0, 0, 1e3
    seeded = torch.Generator().manual_seed
    for layout in part.layouts(N):
        mine = q[part.rows(layout)]
        for o in (
            {}, {"reduction": "sum", "symmetric": True}, {"num_negatives": 6},
            {"teacher_temperature": 0.2},
        ):  # fmt: skip
            part.check(
                lambda x, w, o=o: G.gcrd_loss(x, q, weight=w, generator=seeded(1), **o),
                lambda x, w, y=mine, o=o: G.gcrd_loss(
                    x, y, weight=w, generator=seeded(1), **o, process_group=part.group
                ),
                [p, weight],
                layout,
            )
    # No weight on any rank: 0, and each row's value is the gradient for its weight.
    part.check(
        lambda x, w: G.gcrd_loss(x, q, weight=w),
        lambda x, w: G.gcrd_loss(x, mine, weight=w, process_group=part.group),
        [p, 0 * weight],
        layout,
    )


@case
def gcrd_with_a_temperature_that_learns_alone(part: Part) -> None:
    h_s, h_t = doubles(N, 5), doubles(N, 5)
    for layout in part.layouts(N):
        rows = part.rows(layout)
        for symmetric in (False, True):
            one, tau = (torch.tensor(0.1, dtype=torch.float64).requires_grad_() for _ in range(2))
            options = {"symmetric": symmetric, "reduction": "sum"}
            G.gcrd_loss(h_s, h_t, temperature=one, **options).backward()
            options |= {"process_group": part.group, "ddp": False}
            G.gcrd_loss(h_s[rows], h_t[rows], temperature=tau, **options).backward()
            dist.all_reduce(tau.grad, group=part.group)
            torch.testing.assert_close(tau.grad, one.grad)


@case
def lsp_of_a_weighted_graph(part: Part) -> None:
    h_s, h_t, weight = doubles(N, 5), doubles(N, 7), doubles(N).abs()
    edges = torch.randint(0, N, (2, 40))
    strength = doubles(40).abs()
    strength[::4] = 0
    strength[edges[1] == 2] = 0  # a centre without neighbours
    for layout in part.layouts(N):
        nodes, local, own = halo(part, layout, edges)
        given = {"weight": weight[nodes], "index": own, "process_group": part.group}
        mine = torch.isin(edges[1], nodes[own])
        for options in ({}, {"kernel": "rbf", "gamma": "median", "divergence": "mse"}):
            whole, some = strength.clone().requires_grad_(), strength[mine].requires_grad_()
            value = G.lsp_loss(h_s, h_t, edges, **options, weight=weight, edge_weight=whole)
            shared = G.lsp_loss(h_s[nodes], h_t[nodes], local, **options, edge_weight=some, **given)
            torch.testing.assert_close(shared, value)
            value.backward()
            shared.backward()
            torch.testing.assert_close(some.grad / part.world, whole.grad[mine])


# Bandwidths ---------------------------------------------------------------------------------------
