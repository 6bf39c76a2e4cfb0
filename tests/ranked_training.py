"""Training, precision, memory and errors on several ranks."""

import contextlib
import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

import graphkd
import graphkd.functional as G
from graphkd.distributed import meet
from graphkd.heads import ProjectionHead
from graphkd.ops.ring import batch_norm
from tests.ranks import Part, case, doubles

N = 13

# Heads --------------------------------------------------------------------------------------------


class Student(nn.Module):
    """A student whose loss a user wraps in DDP."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).tanh()


@case
def a_training_step_with_ddp_is_that_of_one_process(part: Part) -> None:
    for layout in part.layouts(N):
        for options in ({}, {"head": "student"}, {"head": "linear", "symmetric": True}):
            torch.manual_seed(1)
            student, loss = Student().double(), graphkd.GCRDLoss(5, 7, 4, **options).double()
            shared = graphkd.GCRDLoss(5, 7, 4, **options, process_group=part.group).double()
            assert shared.load_state_dict(loss.state_dict())
            other = DistributedDataParallel(copy.deepcopy(student), process_group=part.group)
            wrapped = DistributedDataParallel(shared, process_group=part.group)
            x, h_t, rows = doubles(N, 6), doubles(N, 7), part.rows(layout)
            optimizers = [
                torch.optim.SGD([*model.parameters(), *objective.parameters()], lr=0.1)
                for model, objective in ((student, loss), (other, wrapped))
            ]
            for _ in range(2):
                value, again = loss(student(x), h_t), wrapped(other(x[rows]), h_t[rows])
                torch.testing.assert_close(again, value)
                for total, optimizer in zip((value, again), optimizers, strict=True):
                    optimizer.zero_grad()
                    total.backward()
                    optimizer.step()
                one = {**student.state_dict(), **loss.state_dict()}
                all_ranks = {**other.module.state_dict(), **shared.state_dict()}
                for name, tensor in one.items():
                    torch.testing.assert_close(all_ranks[name], tensor, msg=name)
            for mode in (loss, shared):
                mode.eval()
            torch.testing.assert_close(shared(x[rows][:, :5], h_t[rows]), loss(x[:, :5], h_t))


@case
def batch_norm_far_from_zero_keeps_its_digits(part: Part) -> None:
    x, pull = 1000 + torch.randn(64, 3), torch.randn(64, 3)
    layout = list(part.layouts(64))[1]
    rows = part.rows(layout)
    for momentum in (0.1, None):
        norm = nn.BatchNorm1d(3, momentum=momentum)
        one, truth = copy.deepcopy(norm), copy.deepcopy(norm).double()
        mine, whole, exact = (y.clone().requires_grad_() for y in (x[rows], x, x.double()))
        ranks = meet("test", part.group, rows=[layout[part.rank]])
        y = batch_norm(norm, mine, ranks)
        y.backward(pull[rows])
        one(whole).backward(pull)
        expected = truth(exact)
        expected.backward(pull.double())
        torch.testing.assert_close(y, expected[rows].float(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(mine.grad, exact.grad[rows].float(), rtol=1e-3, atol=1e-4)
        for name, tensor in truth.state_dict().items():
            torch.testing.assert_close(norm.state_dict()[name], tensor.to(norm.weight.dtype),
                                       rtol=1e-5, atol=1e-6, check_dtype=False)  # fmt: skip


@case
def one_row_in_all_is_refused_on_every_rank(part: Part) -> None:
    loss = graphkd.GCRDLoss(5, 7, process_group=part.group)
    n = int(part.rank == 0)
    with pytest.raises(ValueError, match="at least two rows"):
        loss(torch.randn(n, 5), torch.randn(n, 7))
    # Two rows on two ranks are enough.
    assert loss(torch.randn(1, 5), torch.randn(1, 7)).isfinite()


@case
def a_pair_of_projection_heads_is_theirs(part: Part) -> None:
    pair = ProjectionHead("mlp", 5, 4), ProjectionHead("mlp", 7, 4)
    loss = graphkd.GCRDLoss(5, 7, head=pair, process_group=part.group).double()
    named = graphkd.GCRDLoss(5, 7, 4).double()
    named.load_state_dict(loss.state_dict())
    h_s, h_t = doubles(N, 5), doubles(N, 7)
    rows = part.rows(next(part.layouts(N)))
    torch.testing.assert_close(loss(h_s[rows], h_t[rows]), named(h_s, h_t))


# Precision and memory -----------------------------------------------------------------------------


@case
def float32_near_convergence(part: Part) -> None:
    n = 600
    for rotated in (False, True):
        h_s = doubles(n, 16)
        turn = torch.linalg.qr(doubles(16, 16)).Q if rotated else torch.eye(16).double()
        h_t = h_s @ turn + 1e-4 * doubles(n, 16)
        rows = part.rows(list(part.layouts(n))[1])
        for kernel in ("linear", "cosine", "poly", "l2", "rbf"):
            exact, one, x = (
                y.requires_grad_() for y in (h_s.clone(), h_s.float(), h_s[rows].float())
            )
            truth = G.global_lsp_loss(exact, h_t, kernel=kernel)
            plain = G.global_lsp_loss(one, h_t.float(), kernel=kernel)
            value = G.global_lsp_loss(x, h_t[rows].float(), kernel=kernel, process_group=part.group)
            assert value >= 0
            for loss in (truth, plain, value):
                loss.backward()
            for got, single, wanted in (
                (value, plain, truth),
                (x.grad / part.world, one.grad[rows], exact.grad[rows]),
            ):
                errors = [(g.double() - wanted).norm() for g in (got.detach(), single.detach())]
                # The error is no worse than with one process.
                assert errors[0] <= 1.5 * errors[1] + 1e-5 * wanted.norm(), (kernel, errors)


@case
def gcrd_in_float32(part: Part) -> None:
    n = 300
    p = doubles(n, 16)
    q = p + 0.3 * doubles(n, 16)
    rows = part.rows(list(part.layouts(n))[1])
    for options in ({}, {"temperature": 0.01}, {"symmetric": True}):
        exact, one, x = (y.requires_grad_() for y in (p.clone(), p.float(), p[rows].float()))
        truth, plain = G.gcrd_loss(exact, q, **options), G.gcrd_loss(one, q.float(), **options)
        value = G.gcrd_loss(x, q[rows].float(), **options, process_group=part.group)
        for loss in (truth, plain, value):
            loss.backward()
        # A rank may have a single row, so that the size of all rows' errors counts.
        for got, single, wanted, of in (
            (value.detach(), plain.detach(), truth.detach(), ...),
            (x.grad / part.world, one.grad, exact.grad, rows),
        ):
            error, budget = (got - wanted[of]).norm(), (single - wanted).norm()
            assert error <= 2 * budget + 1e-6 * wanted.norm(), (options, error, budget)


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else (out,):
            if isinstance(x, Tensor):
                self.numbers = max(self.numbers, x.numel())
        return out


@case
def no_rank_holds_more_than_blocks(part: Part) -> None:
    n, width = 512, 8
    h_s, h_t = torch.randn(n, width, requires_grad=True), torch.randn(n, width)
    group = {"process_group": part.group}
    block = n * (2 * width)
    for loss, most in (
        (lambda: G.gcrd_loss(h_s, h_t, chunk_size=16, **group), block),
        (lambda: G.global_lsp_loss(h_s, h_t, kernel="poly", chunk_size=16, **group), block),
        (lambda: G.global_lsp_loss(h_s, h_t, kernel="rbf", chunk_size=16, **group), block),
        (lambda: G.global_lsp_loss(h_s, h_t, **group), block),
    ):
        with Largest() as largest:
            loss().backward()
        # No rank holds N × N tiles of one rank's rows, or the rows of all ranks.
        assert width * n <= largest.numbers <= most, largest.numbers


# What is refused ----------------------------------------------------------------------------------


@case
def ranks_that_disagree_all_raise(part: Part) -> None:
    group = {"process_group": part.group}
    odd = part.rank == part.world - 1
    x, edges = torch.randn(4, 6 if odd else 5), torch.zeros(2, 0, dtype=torch.long)
    others = "rank 0" if part.world == 2 else "ranks 0, 1"
    wanted = rf"5 on {others}; 6 on rank {part.world - 1}"
    for loss in (G.gcrd_loss, G.global_lsp_loss, lambda x, y, **o: G.lsp_loss(x, y, edges, **o)):
        with pytest.raises(ValueError, match=f"width: {wanted}"):
            loss(x, x, **group)
    y = torch.randn(4, 5, dtype=torch.float64 if odd else torch.float32)
    with pytest.raises(ValueError, match=r"dtype: torch.float32 on .*; torch.float64"):
        G.gcrd_loss(y, y, **group)
    with pytest.raises(ValueError, match="dtype"):
        graphkd.GCRDLoss(5, 5, process_group=part.group).to(y.dtype)(y, y)
    y = torch.randn(4, 5)
    with pytest.raises(ValueError, match="kernel: poly on"):
        G.global_lsp_loss(y, y, kernel="l2" if odd else "poly", **group)
    with pytest.raises(ValueError, match=r"temperature: 0\.1 on"):
        G.gcrd_loss(y, y, temperature=0.2 if odd else 0.1, **group)
    with pytest.raises(ValueError, match="differ in loss"):
        (G.gcrd_loss if odd else G.global_lsp_loss)(y, y, **group)


@case
def an_error_on_one_rank_is_one_on_all(part: Part) -> None:
    group = {"process_group": part.group}
    h, edges = torch.randn(4, 5), torch.tensor([[0], [1]])
    index = torch.tensor([0, 9 if part.rank == 1 else 1])
    losses = (
        G.gcrd_loss,
        G.global_lsp_loss,
        lambda x, y, **o: G.lsp_loss(x, y, edges, **o),
        lambda x, y, index, **o: graphkd.GCRDLoss(5, 5, **o)(x, y, index=index),
    )
    for loss in losses:
        if part.rank == 1:
            with pytest.raises(IndexError, match="row 9"):
                loss(h, h, index=index, **group)
        else:
            with pytest.raises(ValueError, match=r"rank 1 raised IndexError: .*row 9"):
                loss(h, h, index=index, **group)
    with pytest.raises(ValueError, match="kernel must be" if part.rank else "rank 1 raised"):
        G.global_lsp_loss(h, h, kernel="gauss" if part.rank == 1 else "l2", **group) if (
            part.rank < 2
        ) else _raise_as_the_others(h, group)


def _raise_as_the_others(h: Tensor, group: dict) -> None:
    try:
        G.global_lsp_loss(h, h, kernel="l2", **group)
    except ValueError as error:
        raise ValueError(f"kernel must be ... {error}") from None


@case
def a_rank_that_skips_backward_hangs_nobody(part: Part) -> None:
    h = torch.randn(4, 5, requires_grad=True)
    edges = torch.tensor([[0, 1], [1, 2]])
    losses = (
        lambda: G.gcrd_loss(h, torch.randn(4, 5), process_group=part.group),
        lambda: G.global_lsp_loss(h, torch.randn(4, 5), process_group=part.group),
        lambda: G.global_lsp_loss(h, torch.randn(4, 5), kernel="l2", process_group=part.group),
        lambda: G.lsp_loss(h, torch.randn(4, 5), edges, process_group=part.group),
    )
    for loss in losses:
        # A rank that needs no gradient at all hangs nobody either.
        with torch.no_grad() if part.rank == 0 else contextlib.nullcontext():
            value = loss()
        if part.rank == part.world - 1:
            value.backward()


@case
def a_type_that_one_rank_lacks_is_an_error_on_all(part: Part) -> None:
    loss = graphkd.HeteroLoss(
        {"paper": (1.0, graphkd.GlobalLSPLoss(process_group=part.group))},
        metadata=(["paper", "author"], []),
    )
    h = torch.randn(4, 5)
    rows = {"author" if part.rank == 1 else "paper": h}
    says = "node type 'paper' is not in this batch"
    with pytest.raises(ValueError, match=says if part.rank == 1 else f"rank 1 raised.*{says}"):
        loss(rows, rows)
    total, _ = loss({"paper": h[:0] if part.rank == 1 else h}, {"paper": h[: 4 * (part.rank != 1)]})
    assert total == 0
