"""freeze and Tap; what in-place operations do to a Tap is in test_taps.py."""

import copy
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch_geometric.nn import GCN

from graphkd import Tap, freeze

EDGES = torch.tensor([[0, 1, 2], [1, 2, 0]])


def model() -> GCN:
    return GCN(4, 8, num_layers=3, out_channels=2, dropout=0.5, norm="batch_norm")


def test_a_frozen_teacher_stays_in_eval_mode() -> None:
    teacher = model()
    assert freeze(teacher) is teacher
    outer = nn.ModuleDict({"teacher": teacher, "student": model()})
    outer.train()
    assert outer["student"].training
    assert not any(module.training for module in teacher.modules())
    assert not any(p.requires_grad for p in teacher.parameters())
    x = torch.randn(3, 4)
    statistics = {k: v.clone() for k, v in teacher.state_dict().items()}
    assert torch.equal(teacher(x, EDGES), teacher(x, EDGES))
    assert all(torch.equal(v, statistics[k]) for k, v in teacher.state_dict().items())


CLONES = [lambda m: m, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]


@pytest.mark.parametrize("clone", CLONES, ids=["itself", "deepcopy", "pickle"])
def test_a_frozen_teacher_and_its_copies_train_again_when_told_to(clone) -> None:
    teacher = freeze(model())
    other = clone(teacher)
    x = torch.randn(3, 4)
    assert torch.equal(other(x, EDGES), teacher(x, EDGES))
    with pytest.warns(UserWarning, match=r"GCN stays in eval mode.*\.requires_grad_\(True\)"):
        assert other.train() is other
    with pytest.warns(UserWarning, match="Dropout stays in eval mode"):
        other.dropout.train()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        nn.ModuleDict({"teacher": other, "student": model()}).train().eval()
        other.eval()
        assert not any(module.training for module in other.modules())
        other.requires_grad_(True)
        nn.ModuleList([other]).train()
    assert all(module.training for module in other.modules())
    other(x, EDGES).sum().backward()
    assert other.convs[0].lin.weight.grad is not None
    assert clone is CLONES[0] or not any(p.requires_grad for p in teacher.parameters())
    assert freeze(other) is other
    nn.ModuleList([other]).train()
    assert not other.training


def test_layers_without_parameters_follow_the_module_around_them() -> None:
    """Those that a student took learn with it; those of a teacher, listed anew, stay."""
    net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(), nn.BatchNorm1d(8, affine=False))
    teacher = freeze(net)
    student = copy.deepcopy(teacher)[:3].requires_grad_(True).train()
    assert all(part.training for part in student)
    nn.Sequential(*teacher, nn.Linear(8, 2)).train()
    assert not any(part.training for part in teacher)
    bare = freeze(nn.Sequential(nn.Dropout()))
    nn.ModuleList([bare, nn.Linear(8, 2)]).train()
    assert not any(part.training for part in bare.modules())
    nn.ModuleDict({"teacher": teacher, "student": student}).train()
    assert not any(part.training for part in teacher)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_model_is_refused_and_a_frozen_one_can_be_scripted() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout())
    scripted = torch.jit.script(net)
    with pytest.raises(TypeError, match=r"RecursiveScriptModule. Call torch.jit.freeze\(teacher"):
        freeze(scripted)
    for whole in (scripted, nn.Sequential(scripted)):
        with pytest.raises(
            TypeError, match=r"layer '0' is scripted.*the module that it was made of"
        ):
            Tap(whole, "0")
    mixed = freeze(nn.Sequential(scripted, nn.ReLU()))
    nn.ModuleList([mixed]).train()
    assert not any(module.training for module in mixed.modules())
    with Tap(mixed, "1") as tap:
        assert torch.equal(mixed(torch.ones(3, 4)), tap.value)
    with Tap(net, "0"), pytest.raises(AttributeError, match=r"cannot compile.*tap.close\(\)"):
        torch.jit.script(net)
    x = torch.randn(3, 4)
    assert torch.equal(torch.jit.script(freeze(net))(x), net(x))


def test_freeze_refuses_a_lazy_model_that_has_not_run() -> None:
    teacher = GCN(-1, 8, num_layers=2)
    with pytest.raises(ValueError, match=r"of GCN .* 'convs\.0\.lin\.weight'\. Run it once first"):
        freeze(teacher)
    assert teacher.training
    teacher(torch.randn(3, 4), EDGES)
    assert not freeze(teacher).training


def test_freeze_refuses_a_function() -> None:
    with pytest.raises(TypeError, match="Module"):
        freeze(lambda x: x)


def test_tap_captures_the_latest_output() -> None:
    net = model().eval()
    x = torch.randn(3, 4, requires_grad=True)
    with Tap(net, "convs.1") as tap:
        net(x, EDGES)
        first = tap.value
        net(2 * x, EDGES)
        assert tap.value.shape == (3, 8)
        assert not torch.equal(tap.value, first)
        tap.value.sum().backward()
        assert x.grad is not None
    assert not net.convs[1]._forward_hooks
    assert tap.value.shape == (3, 8)


def test_tap_is_gone_after_an_error_and_closes_twice() -> None:
    net = model()
    with pytest.raises(RuntimeError, match="boom"), Tap(net, "convs.0"):
        raise RuntimeError("boom")
    assert not net.convs[0]._forward_hooks
    handle = Tap(net, "convs.0")
    net(torch.randn(3, 4), EDGES)
    assert handle.value.shape == (3, 8)
    handle.close()
    handle.close()
    assert not net.convs[0]._forward_hooks


def test_tap_errors() -> None:
    net = model()
    with pytest.raises(ValueError, match=r"no layer 'conv.1'. Did you mean 'convs.1'\?.*'convs.2'"):
        Tap(net, "conv.1")
    with (
        Tap(net, "convs.1") as tap,
        pytest.raises(RuntimeError, match="has not run since"),
    ):
        _ = tap.value
    with pytest.raises(TypeError, match="Module"):
        Tap(lambda x: x, "convs.1")


def test_a_compiled_model_is_refused() -> None:
    with pytest.raises(TypeError, match=r"compiled.*before torch\.compile"):
        Tap(torch.compile(model()), "convs.1")
    net = model()
    net.compile()
    with pytest.raises(TypeError, match="compiled"):
        Tap(net, "convs.1")
    net = nn.Sequential(nn.Linear(2, 2), torch.compile(nn.Linear(2, 2)))
    with pytest.raises(TypeError, match="layer '1' is compiled"):
        Tap(net, "0")


def test_a_tapped_model_can_be_copied_and_saved() -> None:
    net = model()
    with Tap(net, "convs.1") as tap:
        net(torch.randn(3, 4, requires_grad=True), EDGES)
        for clone in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            before = tap.value
            clone(torch.randn(3, 4), EDGES)
            assert tap.value is before


def test_a_frozen_teacher_stays_so_when_it_is_compiled_afterwards() -> None:
    teacher = torch.compile(freeze(model()), backend="eager")
    nn.ModuleDict({"teacher": teacher, "student": model()}).train()
    x = torch.randn(3, 4)
    assert torch.equal(teacher(x, EDGES), teacher(x, EDGES))


def test_a_tap_can_be_entered_again_and_knows_every_name_of_a_layer() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    net.alias = net[0]
    tap = Tap(net, "alias")
    for scale in (1.0, 5.0):
        x = torch.full((2, 4), scale)
        with tap:
            net[0](x)
        assert torch.equal(tap.value, net[0](x))
