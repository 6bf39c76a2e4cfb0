"""Plain DistributedDataParallel: ranks without rows, and buffers that belong to one rank."""

import copy

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
        for n in (6 if part.rank == 0 else 0, 0):
            loss = graphkd.GCRDLoss(5, 7, 4, head=head, process_group=part.group).double()
            grads = averaged(part, loss, lambda m, n=n: m(doubles(n, 5), doubles(n, 7)))
            assert all(grad is not None and grad.isfinite().all() for grad in grads.values())
