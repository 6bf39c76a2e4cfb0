"""Plain DistributedDataParallel: ranks without rows, and buffers that belong to one rank."""

import copy
import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import graphkd
from tests.ranks import Part, case, doubles


def averaged(part: Part, model: nn.Module, call, **options) -> dict[str, Tensor]:
    """The gradients that DDP averages over the ranks."""
    wrapped = DistributedDataParallel(model, process_group=part.group, **options)
    call(wrapped).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


@case
def a_rank_without_rows_adds_nothing(part: Part) -> None:
    x, h_t, codes = doubles(6, 5), doubles(6, 7), doubles(3, 7)
    index = torch.arange(6) < (6 if part.rank == 0 else 0)
    for build, more in (
        (lambda: graphkd.GCRDLoss(5, 7, 4), ()),
        (lambda: graphkd.CRDLoss(5, 7, 6, 4), ()),
        (lambda: graphkd.VQGraphLoss(5, 7), (codes,)),
        (lambda: graphkd.VIDLoss(5, 7), ()),
        (lambda: graphkd.MultiTeacherLoss(graphkd.FitNetLoss, 5, [7]), ()),
    ):
        torch.manual_seed(1)
        loss = build().double()
        alone = copy.deepcopy(loss)
        teacher = [h_t] if isinstance(loss, graphkd.MultiTeacherLoss) else h_t
        mine = averaged(part, loss, lambda m, t=teacher, a=more: m(x, t, *a, index=index))
        alone(x, teacher, *more).backward()
        for name, parameter in alone.named_parameters():
            torch.testing.assert_close(mine[name], parameter.grad / part.world, msg=name)


@case
def a_node_type_that_one_rank_lacks_adds_nothing(part: Part) -> None:
    torch.manual_seed(1)
    x, h_t = {"a": doubles(6, 5), "b": doubles(4, 5)}, {"a": doubles(6, 7), "b": doubles(4, 7)}
    terms = {"a": (1.0, graphkd.GCRDLoss(5, 7, 4)), "b": (1.0, graphkd.FitNetLoss(5, 7))}
    objective = graphkd.HeteroLoss(terms, metadata=(["a", "b"], [])).double()
    alone = copy.deepcopy(objective)
    present = ("a", "b") if part.rank == 0 else ("a",)
    rows = [{key: side[key] for key in present} for side in (x, h_t)]
    mine = averaged(part, objective, lambda model: model(*rows)[0])
    alone(x, h_t)[0].backward()
    for name, parameter in alone.named_parameters():
        share = part.world if name.startswith("losses.b") else 1
        torch.testing.assert_close(mine[name], parameter.grad / share, msg=name)


@case
def heads_of_a_rank_without_rows_in_a_group(part: Part) -> None:
    pair = nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4)), nn.Linear(7, 4)
    for head in ("mlp", "linear", pair):
        for total in (6, 0):
            n = total if part.rank == 0 else 0
            own = copy.deepcopy(head)
            loss = graphkd.GCRDLoss(5, 7, 4, head=own, process_group=part.group).double()
            grads = averaged(part, loss, lambda m, n=n: m(doubles(n, 5), doubles(n, 7)))
            assert all(grad.isfinite().all() for grad in grads.values())
            assert any(grad.any() for grad in grads.values()) == (total > 0)


class Whole(nn.Module):
    """A user's model that holds its loss."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.student, self.loss = nn.Linear(5, 5), loss

    def forward(self, x: Tensor, **arguments: Tensor) -> Tensor:
        return self.loss(self.student(x), **arguments)


@case
def banks_and_queues_stay_those_of_their_rank(part: Part) -> None:
    builds = (
        lambda: graphkd.CRDLoss(5, 7, 6 * part.world, 4, momentum=0.0),
        lambda: graphkd.GCRDLoss(5, 7, 4, head="linear", queue_size=6 * part.world),
    )
    ids = torch.arange(6) + 6 * part.rank
    rows = {"h_s": torch.randn(6, 5), "h_t": torch.randn(6, 7), "ids": ids}
    for build in builds:
        for wrap, call in (
            (lambda loss: loss, lambda model: model(**rows)),
            (lambda loss: graphkd.WeightedSum(a=(1.0, loss)), lambda model: model(**rows)[0]),
            (
                lambda loss: graphkd.HeteroLoss({"a": (1.0, loss)}),
                lambda model: model(**{name: {"a": x} for name, x in rows.items()})[0],
            ),
        ):
            torch.manual_seed(1)
            loss = build()
            alone = copy.deepcopy(loss)
            model = DistributedDataParallel(wrap(loss), process_group=part.group)
            for _ in range(2):
                torch.testing.assert_close(call(model), alone(**rows))
            for name, buffer in alone.named_buffers():
                assert torch.equal(loss.get_buffer(name), buffer), name
        whole = Whole(build())
        wrapped = DistributedDataParallel(whole, process_group=part.group)
        x, others = rows["h_s"], {"h_t": rows["h_t"], "ids": ids}
        names = [name for name, _ in whole.named_buffers()]
        with pytest.raises(ValueError, match=re.escape(f"_buffers_to_ignore = {names}")):
            wrapped(x, **others)
        whole._ddp_params_and_buffers_to_ignore = names
        alone = copy.deepcopy(whole)
        wrapped = DistributedDataParallel(whole, process_group=part.group)
        for _ in range(2):
            torch.testing.assert_close(wrapped(x, **others), alone(x, **others))
