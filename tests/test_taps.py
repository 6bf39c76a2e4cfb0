"""What a Tap gives where a model changes its layers' outputs."""

import copy
import dataclasses
import gc
import weakref
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.distributions import Normal
from torch_geometric.data import Data

from graphkd import GCRDLoss, KDLoss, Tap, TeacherStore, WeightedSum, freeze
from tests.tapped import Net, X


def written(h: Tensor) -> Tensor:
    h[0] = 0
    return h


CHANGES = {
    "nothing": lambda h: h,
    "ReLU(inplace=True)": nn.ReLU(inplace=True),
    "Dropout(inplace=True)": nn.Dropout(inplace=True),
    "relu_": F.relu_,
    "+=": lambda h: h.__iadd__(1),
    "indexing": written,
    "a view": lambda h: h.view(-1).mul_(2).view_as(h),
}


def train(net: Net, tap: Tap | None = None) -> tuple[Tensor, dict[str, Tensor]]:
    """The logits and all gradients of a step with a loss on the layer's rows."""
    net.zero_grad()
    torch.manual_seed(0)
    z = net(X)
    h = net.lin(X) if tap is None else tap.value
    (z.square().sum() + h.pow(3).sum()).backward()
    return z, {name: p.grad.clone() for name, p in net.named_parameters()}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_the_layers_own_output(change: Callable[[Tensor], Tensor]) -> None:
    net = Net(change)
    plain = train(net)
    with Tap(net, "lin") as tap, Tap(net, "lin") as other:
        torch.testing.assert_close(train(net, tap), plain)
        assert torch.equal(tap.value, net.lin(X).detach())
        net(X)
        assert torch.equal(other.value, net.lin(X))
        z = net(X)
        assert torch.autograd.grad(z.sum(), tap.value)[0].any()  # balancing asks for it
        net.eval()
        for without in (torch.no_grad, torch.inference_mode):
            with without():
                net(X)
            assert torch.equal(tap.value, net.lin(X))


def test_the_layers_own_output_in_a_compiled_model() -> None:
    net = Net(nn.ReLU(inplace=True))
    with Tap(net, "lin") as tap, Tap(net, "out") as last:
        z = torch.compile(net, backend="aot_eager", fullgraph=True)(X)
        torch.testing.assert_close(tap.value, net.lin(X))
        torch.testing.assert_close(last.value, z)


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))


def own_rows(net: nn.Module, tap: Tap, z: Tensor) -> bool:
    return torch.allclose(net[2](tap.value), z)


def test_models_of_one_shape_compiled_with_and_without_a_tap() -> None:
    """Neither runs what was compiled for the other, and equals share one graph."""
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")

    def compiled(net: nn.Module) -> nn.Module:
        return torch.compile(net, backend=counter, fullgraph=True)

    base = compiled(mlp())
    base(X)
    for _ in range(3):
        tap = Tap(net := mlp(), "1")
        net(-X)  # a look at the rows, after which old ones could be taken for new ones
        student = compiled(net)
        assert own_rows(net, tap, student(X))
    if torch.__version__ >= (2, 10):  # before, each hook gets a graph of its own
        assert counter.frame_count == 2
    for _ in range(2):
        tap.close()
        student(X)
        with tap:
            assert own_rows(net, tap, student(X))
    base(X)
    teacher = freeze(mlp())
    with Tap(teacher, "1") as tap, torch.no_grad():
        assert own_rows(teacher, tap, compiled(teacher)(X))


def test_a_step_compiled_before_the_tap_was_made() -> None:
    net = mlp()
    step = torch.compile(lambda x: net(x), backend="eager")
    step(-X)
    with Tap(net, "1") as tap:
        assert own_rows(net, tap, step(X))


def test_a_layers_forward_is_the_users_again_after_its_last_tap() -> None:
    net = mlp()
    first, second = Tap(net, "0"), Tap(net, "0")
    copied = copy.deepcopy(net)
    nn.init.zeros_(copied[0].weight)
    assert torch.equal(copied[0](X), copied[0].bias.expand(5, 4))
    for tap, tapped in ((first, True), (second, False)):
        tap.close()
        assert ("forward" in vars(net[0])) is tapped
    net[1].forward = torch.neg
    with Tap(net, "1") as tap:
        assert torch.equal(net[:2](X), tap.value)
    assert net[1].forward is torch.neg


def test_balancing_with_rows_that_the_model_changes() -> None:
    net = Net(nn.ReLU(inplace=True))
    objective = WeightedSum(kd=(1.0, KDLoss()), gcrd=(1.0, GCRDLoss(4, 4)), balance=True)
    with Tap(net, "lin") as tap:
        z = net(X)
        total, _ = objective(
            h_s=tap.value, h_t=X, z_s=z, z_t=z.detach(), task_loss=z.square().sum()
        )
    total.backward()
    assert net.lin.weight.grad.isfinite().all()


def test_the_store_writes_the_layers_own_output(tmp_path) -> None:
    teacher = Net(nn.ReLU(inplace=True)).eval()
    data = Data(x=X, edge_index=torch.zeros(2, 1, dtype=torch.long))
    store = TeacherStore.build(
        tmp_path / "store", teacher, data, "lin", torch.float32, progress=False
    )
    assert torch.equal(store[:].h, teacher.lin(X))
    assert torch.equal(store[:].z, teacher(X))


Pair = namedtuple("Pair", "first second")


@dataclasses.dataclass(frozen=True)
class Record:
    first: Tensor
    second: Tensor


@dataclasses.dataclass
class Shifted:
    """A constructor that changes what it is given, with a name that is no attribute."""

    first: Tensor
    by: dataclasses.InitVar[int]
    later: Tensor = dataclasses.field(init=False)

    def __post_init__(self, by: int) -> None:
        self.first = self.first + by
        self.shift = by


class Both(tuple[Tensor, ...]):
    __slots__ = ()

    def __new__(cls, first: Tensor, second: Tensor) -> "Both":
        return super().__new__(cls, (first, second))


class Several(list[Tensor]):
    def __init__(self, *parts: Tensor) -> None:
        super().__init__(parts)


def replaced(output: dict[str, Tensor]) -> Tensor:
    output["first"] = output["first"] + 1
    return output["first"]


def set_x(data: Data) -> Tensor:
    data.x = data.x + 1
    return data.x


CONTAINERS = {
    "tuple": (lambda h: (h, None), lambda o: F.relu_(o[0]), lambda o: o[0]),
    "list": (lambda h: [h, 2 * h], lambda o: F.relu_(o.pop(0)), lambda o: o[0]),
    "one tensor twice": (lambda h: (h, h), lambda o: F.relu_(o[0]) + o[1], lambda o: o[1]),
    "named tuple": (lambda h: Pair(h, h), lambda o: F.relu_(o.first), lambda o: o.first),
    "returned by torch": (lambda h: h.sort(0), lambda o: F.relu_(o.values), lambda o: o.values),
    "dict": (lambda h: {"first": h}, replaced, lambda o: o["first"]),
    "OrderedDict": (lambda h: OrderedDict(first=h), replaced, lambda o: o["first"]),
    "dataclass": (lambda h: Record(h, 2 * h), lambda o: F.relu_(o.first), lambda o: o.first),
    "own constructor": (lambda h: Shifted(h, 1), lambda o: o.first * o.shift, lambda o: o.first),
    "own tuple": (lambda h: Both(h, h), lambda o: F.relu_(o[0]), lambda o: o[0]),
    "own list": (lambda h: Several(h, h), lambda o: F.relu_(o.pop(0)), lambda o: o[0]),
    "object": (lambda h: Normal(h, 1.0), lambda o: F.relu_(o.loc), lambda o: o.loc),
    "nested": (lambda h: {"a": [h]}, lambda o: F.relu_(o["a"][0]), lambda o: o["a"][0]),
    "Data": (lambda h: Data(x=h), set_x, lambda o: o.x),
}


@pytest.mark.parametrize(("make", "change", "rows"), CONTAINERS.values(), ids=CONTAINERS.keys())
def test_the_layers_own_output_in_a_container(make: Any, change: Any, rows: Any) -> None:
    net = Net(change, make)
    plain = net(X)
    with Tap(net, "layer") as tap:
        z = net(X)
        assert torch.equal(z, plain)
        assert type(tap.value) is type(make(X))
        assert torch.equal(rows(tap.value), rows(make(net.lin(X))))
        assert torch.autograd.grad(z.sum(), rows(tap.value))[0].any()


class Behind(nn.Module):
    """Changes a layer's output through the layer's input, whose memory it shares."""

    def __init__(self) -> None:
        super().__init__()
        self.lin, self.same = nn.Linear(4, 4), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        before = self.lin(x)
        after = self.same(before)
        before += 1
        return after


def test_a_change_that_no_copy_prevents_is_refused() -> None:
    net = Behind()
    with Tap(net, "same") as tap:
        net(X)
        with pytest.raises(RuntimeError, match=r"layer 'same' was changed in place.*x = x \+ y"):
            _ = tap.value
        torch.compile(net, backend="aot_eager", fullgraph=True)(X)
        torch.testing.assert_close(tap.value, net.lin(X))
        net.eval()
        with torch.no_grad():
            net(X)
        assert torch.equal(tap.value, net.lin(X))


class Table(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.ones(3, 2))

    def forward(self) -> Tensor:
        return self.rows


def test_a_parameter_that_a_layer_returns() -> None:
    table = Table()
    with Tap(table, "") as tap:
        table().sum().backward()
        torch.optim.SGD(table.parameters(), lr=1.0).step()
        assert torch.equal(tap.value, torch.ones(3, 2))
        assert tap.value.requires_grad


def test_a_tap_knows_when_it_cannot_know() -> None:
    net = Net(CHANGES["nothing"])
    tap = Tap(net, "layer")
    net(X)
    replica = net.layer._replicate_for_data_parallel()
    with pytest.raises(RuntimeError, match=r"replicas of torch.nn.DataParallel.*got Layer.*Use"):
        replica(X)
    net.layer._forward_hooks.clear()
    with pytest.raises(RuntimeError, match=r"hook was removed from layer 'layer'.*new Tap"):
        _ = tap.value


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_functions_of_the_parameters_and_traces() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    with Tap(net, "0") as tap:
        traced = torch.jit.trace(net, X)
        torch.testing.assert_close(traced(X), net(X))

        def loss(parameters: dict[str, Tensor]) -> Tensor:
            torch.func.functional_call(net, parameters, (X,))
            return tap.value.square().sum()

        parameters = {name: p.detach() for name, p in net.named_parameters()}
        got = torch.func.grad(loss)(parameters)["0.weight"]
        want = torch.autograd.grad(net[0](X).square().sum(), net[0].weight)[0]
        torch.testing.assert_close(got, want)


def test_a_tap_that_nobody_holds_keeps_nothing_alive() -> None:
    gc.disable()
    try:
        net = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        tap = Tap(net, "0")
        net(X)
        rows, layer = weakref.ref(tap.value), weakref.ref(net[0])
        del tap
        assert rows() is None
        assert "forward" not in vars(net[0])
        del net
        assert layer() is None
    finally:
        gc.enable()
