"""Losses over the ranks of a process group, on one, two and three processes."""

import copy
import functools
import pickle
import tempfile
from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecision

import graphkd
import graphkd.functional as G
from tests import (  # noqa: F401
    ranked_ddp,
    ranked_diagnostics,
    ranked_training,
    ranked_values,
    ranked_weights,
)
from tests.ranks import CASES, Part, run_cases

# A ring of two has one neighbour on both sides, which values show; three ranks try everything.
VALUES = {name: case for name, case in CASES.items() if case.__module__ == ranked_values.__name__}
WORLDS = {2: VALUES, 3: CASES}


@functools.cache
def errors(world: int) -> dict[str, str]:
    return run_cases(world, WORLDS[world])


@pytest.mark.parametrize(
    ("world", "name"), [(world, name) for world, cases in WORLDS.items() for name in cases]
)
def test_on_several_ranks(world: int, name: str) -> None:
    if name in errors(world):
        pytest.fail(errors(world)[name], pytrace=False)


@pytest.fixture
def group() -> Iterator[dist.ProcessGroup]:
    """A world of one, in this process."""
    with tempfile.NamedTemporaryFile() as store:
        dist.init_process_group("gloo", init_method=f"file://{store.name}", rank=0, world_size=1)
        yield dist.group.WORLD
        dist.destroy_process_group()


ALONE = [
    "global_lsp", "gcrd", "gcrd_with_a_teacher_side_that_learns", "lsp_with_halo_nodes",
    "a_training_step_with_ddp_is_that_of_one_process", "nothing_on_any_rank",
]  # fmt: skip


@pytest.mark.parametrize("name", ALONE)
def test_in_a_world_of_one(name: str, group: dist.ProcessGroup, monkeypatch) -> None:
    monkeypatch.setattr(Part, "layouts", lambda self, n: iter([[n]]))
    CASES[name](Part(group))


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(6, 5, requires_grad=True), torch.randn(6, 5), torch.randint(0, 6, (2, 12))


def test_what_does_not_go_with_a_group(group: dist.ProcessGroup) -> None:
    dot = lambda x, y: (x * y).sum(-1)  # noqa: E731
    for build, options, remedy in (
        (graphkd.GlobalLSPLoss, {"reduction": "none"}, "'mean' or 'sum'"),
        (graphkd.GlobalLSPLoss, {"max_samples": 3}, "index="),
        (graphkd.GlobalLSPLoss, {"kernel": dot}, "name"),
        (graphkd.GlobalLSPLoss, {"backend": "reference"}, "'auto'"),
        (graphkd.LSPLoss, {"reduction": "none"}, "'mean' or 'sum'"),
        (functools.partial(graphkd.GCRDLoss, 5, 5), {"reduction": "none"}, "'mean' or 'sum'"),
        (functools.partial(graphkd.GCRDLoss, 5, 5), {"max_samples": 3}, "index="),
        (functools.partial(graphkd.GCRDLoss, 5, 5), {"backend": "reference"}, "'auto'"),
        (functools.partial(graphkd.GCRDLoss, 5, 5), {"queue_size": 8}, "queue_size"),
        (functools.partial(graphkd.GCRDLoss, 5, 5), {"head": "gcn"}, "'mlp'"),
        (
            functools.partial(graphkd.GCRDLoss, 5, 5),
            {"head": (nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)), nn.Linear(5, 4))},
            "SyncBatchNorm",
        ),
    ):
        build(**options)
        with pytest.raises(ValueError, match=remedy):
            build(**options, process_group=group)
    h_s, h_t, edges = inputs()
    for teacher, call in (
        (G.precompute_global_lsp(h_t), lambda t: G.global_lsp_loss(h_s, t, process_group=group)),
        (G.precompute_lsp(h_t, edges), lambda t: G.lsp_loss(h_s, t, edges, process_group=group)),
    ):
        with pytest.raises(ValueError, match="precomputed teacher"):
            call(teacher)
    with pytest.raises(ValueError, match="labels"):
        G.gcrd_loss(h_s, h_t, labels=torch.zeros(6, dtype=torch.long), process_group=group)


LATE = [
    ({"reduction": "none"}, "reduction='none'"),
    ({"max_samples": 3}, "max_samples"),
    ({"backend": "reference"}, "backend='reference'"),
    ({"queue_size": 9}, "queue_size"),
    ({"head": "gcn"}, "a head that takes edges"),
    ({"head": (nn.BatchNorm1d(5), nn.BatchNorm1d(5))}, "moments on one rank"),
]


@pytest.mark.parametrize(("options", "says"), LATE)
def test_a_group_that_is_set_later_is_refused_as_one_given_at_once(
    options: dict, says: str, group: dist.ProcessGroup
) -> None:
    h_s, h_t, edges = inputs()
    loss = graphkd.GCRDLoss(5, 5, **options)
    loss.process_group = group
    with pytest.raises(ValueError, match=says):
        loss(h_s, h_t, edges, ids=torch.arange(6))


@pytest.mark.parametrize(
    "build", [functools.partial(graphkd.GCRDLoss, 5, 5), graphkd.GlobalLSPLoss, graphkd.LSPLoss]
)
def test_bad_groups_are_refused(build) -> None:
    for bad in ("world", 3, -100, object()):
        with pytest.raises(TypeError, match=r"process_group must be a torch.distributed.*WORLD"):
            build(process_group=bad)
    with pytest.raises(TypeError, match="ddp must be True"):
        build(ddp="yes")
    build(ddp=False)  # without a group, nothing is averaged


def test_copies_and_pickles(group: dist.ProcessGroup) -> None:
    for loss in (graphkd.GCRDLoss(5, 5, process_group=group), graphkd.LSPLoss(process_group=group)):
        assert "process_group='gloo, 1 ranks'" in repr(loss)
        other = copy.deepcopy(nn.ModuleList([loss, loss]))
        assert other[0] is other[1]
        assert other[0].process_group is group
        assert repr(other[0]) == repr(loss)
        assert other[0].load_state_dict(loss.state_dict())
        with pytest.raises(TypeError, match=r"state_dict\(\), or set its process_group to None"):
            pickle.dumps(loss)
        other[0].process_group = None
        assert pickle.loads(pickle.dumps(other[0])).process_group is None


class WithLoss(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.student, self.loss = nn.Linear(5, 5), graphkd.GCRDLoss(5, 5)

    def forward(self, h_s: Tensor, h_t: Tensor) -> Tensor:
        return self.loss(self.student(h_s), h_t)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("views", [True, False], ids=["parameters", "flat"])
def test_fsdp_with_a_half_precision_policy(views: bool, group: dist.ProcessGroup) -> None:
    """Heads that the policy casts are refused, and the remedy that the error names helps."""
    h_s, h_t, _ = inputs()
    shard = functools.partial(
        FullyShardedDataParallel,
        mixed_precision=MixedPrecision(param_dtype=torch.bfloat16),
        use_orig_params=views,
        device_id=torch.device("cpu"),
    )
    with pytest.raises(ValueError, match=r"FSDP's mixed-precision policy.*ignored_modules=.loss"):
        shard(WithLoss())(h_s, h_t)
    model = WithLoss()
    shard(model, ignored_modules=[model.loss])(h_s, h_t).backward()
    assert model.loss.head_s.map.weight.grad.dtype == torch.float32


def test_a_second_backward_pass_is_refused_by_name(group: dist.ProcessGroup) -> None:
    h_s, h_t, _ = inputs()
    value = G.global_lsp_loss(h_s, h_t, process_group=group)
    (grad,) = torch.autograd.grad(value, h_s, create_graph=True)
    with pytest.raises(NotImplementedError, match="one process"):
        grad.sum().backward()


def test_gradients_accumulate(group: dist.ProcessGroup) -> None:
    h_s, h_t, _ = inputs()
    value = G.gcrd_loss(h_s, h_t, process_group=group)
    value.backward(retain_graph=True)
    once = h_s.grad.clone()
    value.backward()
    torch.testing.assert_close(h_s.grad, 2 * once)


def test_compiled_code_breaks_its_graph_there(group: dist.ProcessGroup) -> None:
    h_s, h_t, edges = inputs()
    for loss in (
        lambda x: G.gcrd_loss(2 * x, h_t, process_group=group),
        lambda x: G.global_lsp_loss(2 * x, h_t, process_group=group),
        lambda x: G.lsp_loss(2 * x, h_t, edges, process_group=group),
    ):
        compiled = torch.compile(loss, backend="aot_eager")
        torch.testing.assert_close(compiled(h_s), loss(h_s))
