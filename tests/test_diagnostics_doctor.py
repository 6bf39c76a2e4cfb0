"""The doctor changes nothing, is called as the objective is, and never fails by its own checks."""

import copy
import logging
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import graphkd
from graphkd.diagnostics import Doctor
from graphkd.diagnostics.doctor.gradients import Gradients
from graphkd.diagnostics.doctor.rows import NotFinite
from graphkd.losses._base import arguments_of
from tests.contract import LOSSES, Loss
from tests.doctored import blocks, distilled, trained

DATA = blocks()


def _objective() -> graphkd.WeightedSum:
    torch.manual_seed(0)
    return graphkd.WeightedSum(
        kd=(1.0, graphkd.KDLoss()),
        gcrd=(0.1, graphkd.GCRDLoss(8, 16, 6, queue_size=50)),
        crd=(0.1, graphkd.CRDLoss(8, 16, 240, 6, num_negatives=20)),
        lsp=(1.0, graphkd.LSPLoss()),
        balance=True,
    )


def _run(watched: bool) -> tuple[list[Tensor], Tensor]:
    """Every value, parameter, buffer and gradient of a run of dropout, draws and buffers."""
    objective = _objective()
    torch.manual_seed(1)
    student, head = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Dropout(0.3)), nn.Linear(8, 4)
    parameters = [*student.parameters(), *head.parameters(), *objective.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=0.01)
    loss = Doctor(objective, optimizer=optimizer, student=student) if watched else objective
    h_t, z_t, kept = torch.randn(240, 16), torch.randn(240, 4), []
    for _ in range(6):
        h_s = student(DATA.x)
        z_s = head(h_s)
        task = nn.functional.cross_entropy(z_s, DATA.y)
        total, parts = loss(
            h_s=h_s, h_t=h_t, z_s=z_s, z_t=z_t, edge_index=DATA.edge_index,
            ids=torch.arange(240), task_loss=task, y=DATA.y,
        )  # fmt: skip
        optimizer.zero_grad()
        (task + total).backward()
        kept += [total.detach(), *parts.values(), *(p.grad.clone() for p in parameters)]
        optimizer.step()
    return [*kept, *objective.buffers(), *parameters], torch.get_rng_state()


def test_a_run_is_the_same_with_it_to_the_last_bit() -> None:
    (plain, state), (watched, other) = _run(False), _run(True)
    assert len(plain) == len(watched)
    assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))
    assert torch.equal(state, other)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_it_is_called_as_every_loss_is(loss: Loss) -> None:
    """Positionally, with the same value and gradient, and without a check that fails."""
    results = []
    for watched in (False, True):
        torch.manual_seed(0)
        built = loss.build(*loss.dims, **loss.variants[0])
        module = Doctor(built) if watched else built
        h_s, h_t, edges = loss.inputs(30, torch.float32, dims=None if loss.logits else loss.dims)
        torch.manual_seed(1)
        value = loss.call_module(module, h_s, h_t, edges)
        value.backward()
        results.append((value.detach(), h_s.grad))
        if watched:
            module.findings()
            assert not module._failed
    for plain, seen in zip(*results, strict=True):
        assert torch.equal(plain, seen)


def test_task_loss_and_labels_go_to_an_objective_that_takes_them() -> None:
    z_s, z_t, y = torch.randn(9, 3, requires_grad=True), torch.randn(9, 3), torch.randint(3, (9,))
    task = z_s.sum()
    for loss in (graphkd.DKDLoss(), graphkd.KDLoss()):
        alone = loss(z_s, z_t, y) if isinstance(loss, graphkd.DKDLoss) else loss(z_s, z_t)
        assert torch.equal(Doctor(loss)(z_s, z_t, y=y, task_loss=task), alone)

    class Own(nn.Module):
        def forward(self, student_logits: Tensor, teacher_logits: Tensor, *, y: Tensor) -> Tensor:
            return (student_logits - teacher_logits).square().mean() + y.sum()

    assert torch.equal(Doctor(Own())(z_s, z_t, y=y), Own()(z_s, z_t, y=y))


def test_it_looks_at_each_so_many_th_step_of_training() -> None:
    doctor = Doctor(graphkd.KDLoss(), every=3)
    z = torch.randn(9, 3, requires_grad=True)
    for _ in range(7):
        doctor(z, z.detach())
    with torch.no_grad():
        doctor(z, z.detach())
    assert "looked at 3 of 7 steps" in doctor.report()


def test_a_check_that_fails_is_noted_once_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def see(self: NotFinite, call: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(NotFinite, "see", see)
    doctor, z = Doctor(graphkd.KDLoss()), torch.randn(9, 3, requires_grad=True)
    with caplog.at_level(logging.DEBUG, logger="graphkd"):
        values = [doctor(z, z.detach()) for _ in range(3)]
    assert torch.equal(values[0], graphkd.KDLoss()(z, z.detach()))
    assert len([r for r in caplog.records if "NotFinite" in r.message]) == 1
    assert "NotFinite: ZeroDivisionError: planted" in doctor.report()


def test_an_error_of_the_objective_is_its_own_and_leaves_no_hook() -> None:
    loss = graphkd.GCRDLoss(3, 3, 4)
    doctor = Doctor(loss)
    with pytest.raises(ValueError, match="dim_s"):
        doctor(torch.randn(9, 2, requires_grad=True), torch.randn(9, 3))
    doctor(torch.randn(9, 3, requires_grad=True), torch.randn(9, 3))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in loss.modules())


def test_its_state_is_the_objectives() -> None:
    loss, other = graphkd.GCRDLoss(3, 4, 5), graphkd.GCRDLoss(3, 4, 5)
    doctor = Doctor(loss)
    assert doctor.state_dict().keys() == loss.state_dict().keys()
    Doctor(other).load_state_dict(loss.state_dict())
    holder, plain = nn.ModuleDict({"distill": doctor}), nn.ModuleDict({"distill": other})
    assert holder.state_dict().keys() == plain.state_dict().keys()
    holder.load_state_dict(plain.state_dict())
    assert [*doctor.parameters()] == [*loss.parameters()]
    assert not doctor.eval().objective.training
    assert doctor.to(torch.float64).head_s.map.weight.dtype == torch.float64


def test_it_copies_pickles_compiles_and_hands_attributes_on() -> None:
    data = blocks()
    doctor = distilled(graphkd.GCRDLoss(8, 16, 4), data, trained(data, steps=1), steps=2,
                       arguments=lambda h_s, h_t, **_: {"h_s": h_s, "h_t": h_t})  # fmt: skip
    h_s, h_t = torch.randn(9, 8, requires_grad=True), torch.randn(9, 16)
    for twin in (copy.deepcopy(doctor), pickle.loads(pickle.dumps(doctor))):
        assert twin.temperature == 0.075
        assert torch.equal(twin.eval()(h_s, h_t), doctor.eval()(h_s, h_t))
    layers = graphkd.LayerwiseLoss(graphkd.KDLoss())
    assert arguments_of(Doctor(layers)) == arguments_of(layers)
    compiled = torch.compile(Doctor(graphkd.KDLoss()), backend="eager", fullgraph=True)
    z = torch.randn(9, 3, requires_grad=True)
    torch.testing.assert_close(compiled(z, -z.detach()), graphkd.KDLoss()(z, -z.detach()))
    inside = Doctor(torch.compile(graphkd.KDLoss(), backend="eager"))
    torch.testing.assert_close(inside(z, -z.detach()), graphkd.KDLoss()(z, -z.detach()))
    assert not inside._failed


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"objective": graphkd.functional.kd_loss}, TypeError, "the function kd_loss"),
        ({"teacher": torch.zeros(3, 3)}, TypeError, "teacher must be a Module"),
        ({"optimizer": "Adam"}, TypeError, "torch.optim.Optimizer"),
        ({"every": 0}, ValueError, "every"),
    ],
)
def test_bad_arguments(arguments: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Doctor(**{"objective": graphkd.KDLoss(), **arguments})


def _task(z: Tensor) -> Tensor:
    return nn.functional.cross_entropy(z, torch.arange(z.size(0)) % z.size(1))


def _rows() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    h_s = torch.randn(40, 6, requires_grad=True)
    return h_s, h_s @ torch.randn(6, 3), torch.randn(40, 6), torch.randn(40, 3)


class _Own(nn.Module):
    """An objective of the user's own, which weighs two losses."""

    def __init__(self) -> None:
        super().__init__()
        self.soft, self.close = graphkd.KDLoss(), graphkd.FitNetLoss(6, 6)

    def forward(self, student: Tensor, teacher: Tensor, logits: Any) -> Tensor:
        return 0.5 * self.soft(*logits) + 2 * self.close(student, teacher)


def test_pulls_are_the_gradients_times_all_weights() -> None:
    h_s, z_s, h_t, z_t = _rows()
    own = _Own()
    doctor = Doctor(own)
    task = _task(z_s)
    total = doctor(h_s, h_t, logits=(z_s, z_t), task_loss=task)
    (3 * task + 12 * total).backward(retain_graph=True)
    doctor.findings()
    windows = next(c for c in doctor._checks if isinstance(c, Gradients)).windows
    wanted = {"soft": 0.5 * graphkd.KDLoss()(z_s, z_t), "close": 2 * own.close(h_s, h_t)}
    h_task = torch.autograd.grad(task, h_s, retain_graph=True)[0]
    for name, term in wanted.items():
        pull = torch.autograd.grad(term, h_s, retain_graph=True)[0]
        cosine = nn.functional.cosine_similarity(pull.flatten(), h_task.flatten(), dim=0)
        seen = windows[name]._open
        assert seen["term"] == pytest.approx([4 * float(pull.norm())], rel=1e-5)
        assert seen["task"] == pytest.approx([float(h_task.norm())], rel=1e-5)
        assert seen["cosine"] == pytest.approx([float(cosine)], abs=1e-6)


@pytest.mark.parametrize("way", ["selected rows", "side by side", "logits alone"])
def test_pulls_are_measured_where_task_and_term_meet(way: str) -> None:
    torch.manual_seed(0)
    student, x = nn.Linear(6, 9), torch.randn(40, 6)
    h, z = student(x).split([6, 3], dim=1)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    doctor = Doctor(graphkd.KDLoss(), student=student, optimizer=optimizer)
    if way == "selected rows":
        doctor(z[::2].float(), torch.randn(20, 3), task_loss=_task(z))
    elif way == "side by side":
        doctor = Doctor(graphkd.FitNetLoss(6, 6), optimizer=optimizer)
        doctor(h.clone(), torch.randn(40, 6), task_loss=_task(z))
    else:
        doctor(z, torch.randn(40, 3), task_loss=_task(z))
    doctor.findings()
    check = next(c for c in doctor._checks if isinstance(c, Gradients))
    [(name, windows)] = check.windows.items()
    assert windows._open["task"][0] > 0
    assert windows._open["term"][0] > 0
    places = {"selected rows": "what the student's rows were taken from", "logits alone": "z_s"}
    assert check.places[name] == places.get(way, check.places[name])


def test_node_types_layers_and_teachers_are_told_apart() -> None:
    h_s, z_s, h_t, z_t = _rows()
    hetero = Doctor(graphkd.HeteroLoss({
        "a": (0.5, graphkd.GCRDLoss(6, 6, 4)), ("a", "to", "b"): (2.0, graphkd.LSPLoss()),
    }))  # fmt: skip
    edges = {("a", "to", "b"): torch.randint(40, (2, 200))}
    by_type = [{"a": h, "b": h.flip(0)} for h in (h_s, h_t)]
    by_type[1]["b"] = by_type[1]["b"].index_fill(0, torch.tensor([1, 2]), torch.nan)
    hetero(*by_type, edges, task_loss=_task(z_s), y={"a": torch.arange(40) % 3})
    assert not hetero._failed
    finding = hetero.findings()[0]
    assert "2 of 40 rows of h_t['b']" in finding.message
    layers = Doctor(graphkd.LayerwiseLoss(graphkd.FitNetLoss, [6, 3], [6, 3]))
    layers([h_s, z_s], [h_t, z_t], task_loss=_task(z_s))
    teachers = Doctor(graphkd.MultiTeacherLoss(graphkd.KDLoss(reduction="none"), 3, [3, 3]))
    teachers(z_s, [z_t, z_t.requires_grad_()], task_loss=_task(z_s), y=torch.arange(40) % 3)
    assert not layers._failed
    assert not teachers._failed
    assert "z_t[1] required a gradient" in teachers.findings()[0].message
