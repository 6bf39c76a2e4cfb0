"""Single checks of the doctor, against what they are by definition."""

import copy
import itertools
import math
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import graphkd
from graphkd.diagnostics import Doctor
from graphkd.diagnostics.doctor.matching import matching_score
from graphkd.diagnostics.doctor.values import _chance
from graphkd.diagnostics.doctor.windows import Windows
from tests.doctored import NODES, WIDTH, blocks, codes, distilled, trained

DATA = blocks()
TEACHER = trained(DATA)


def test_a_matching_is_scored_against_all_matchings() -> None:
    a, b = (torch.randn(6, d, dtype=torch.float64) for d in (3, 4))
    a, b = a - a.mean(dim=0), b - b.mean(dim=0)
    values = [
        float((a.t() @ b[list(order)]).square().sum()) for order in itertools.permutations(range(6))
    ]
    null = torch.tensor(values, dtype=torch.float64)
    expected = (values[0] - null.mean()) / null.std(correction=0)
    assert matching_score(a, b) == pytest.approx(float(expected), rel=1e-9)
    assert matching_score(3 * a + 1, b) == pytest.approx(float(expected), rel=1e-9)
    assert matching_score(torch.ones(6, 3), b) == 0


def test_random_matchings_score_as_normal_numbers_do() -> None:
    scores = torch.tensor(
        [matching_score(torch.randn(200, 8).relu(), torch.randn(200, 4)) for _ in range(200)]
    )
    assert abs(scores.mean()) < 0.3
    assert 0.7 < scores.std() < 1.3
    assert scores.max() < 5


@pytest.mark.parametrize("loss", ["gcrd", "crd", "drawn"])
def test_chance_is_the_value_of_keys_that_tell_nothing(loss: str) -> None:
    rows = torch.ones(20, 3, requires_grad=True)
    if loss == "crd":
        # The logarithm of the mean of exp(cos/τ) makes the critic a constant.
        banks = {"bank_s": F.normalize(rows.detach()), "bank_t": F.normalize(rows.detach())}
        built = graphkd.CRDLoss(
            3, 3, 20, 3, head="identity", temperature=0.5, log_z=2.0, momentum=1.0, **banks
        )
    else:
        drawn = 7 if loss == "drawn" else None
        built = graphkd.GCRDLoss(3, 3, head="identity", num_negatives=drawn)
    assert _chance(built, 20)[0] == pytest.approx(float(built(rows, rows.detach())), rel=1e-5)


def test_windows_are_so_many_steps_and_calls_long() -> None:
    def ends(every: int, calls: int = 3) -> list[int]:
        windows, found = Windows(calls), []
        for step in range(0, 100, every):
            before = len(windows.ended)
            windows.add(step, value=float(step), hole=math.nan)
            found += [step] * (len(windows.ended) - before)
        assert not windows.of("hole")
        return found

    assert ends(1)[:2] == [19, 39]
    assert ends(10) == [20, 50, 80]
    assert ends(20, calls=2) == [20, 60]
    assert ends(50) == []


def _batches(size: int, wrong: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Node ids of batches, and the rows that are looked up for them."""
    generator = torch.Generator().manual_seed(0)
    while True:
        for ids in torch.randperm(NODES, generator=generator).split(size):
            yield ids, (torch.arange(len(ids)) if wrong else ids)


@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize("labels", [False, True])
def test_rows_by_place_instead_of_node_id(wrong: bool, labels: bool) -> None:
    torch.manual_seed(0)
    student, out = nn.Linear(12, WIDTH), nn.Linear(WIDTH, 4)
    loss = graphkd.GCRDLoss(WIDTH, 16, 8)
    parameters = [*student.parameters(), *out.parameters(), *loss.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=0.01)
    doctor, (h_t, _) = Doctor(loss, optimizer=optimizer), TEACHER(DATA.x)
    for _, (ids, places) in zip(range(30), _batches(60, wrong), strict=False):
        h = student(DATA.x[ids])
        task = F.cross_entropy(out(h), DATA.y[ids])
        more = {"y": DATA.y[ids]} if labels else {}
        extra = doctor(h, h_t[places], task_loss=task, **more)
        optimizer.zero_grad()
        (task + 0.1 * extra).backward()
        optimizer.step()
    assert codes(doctor) == ["misaligned-rows"] * wrong


def test_labels_of_many_kinds_are_compared() -> None:
    torch.manual_seed(0)
    bits = torch.rand(NODES, 3) < 0.5
    y = bits.float().masked_fill(torch.rand(NODES, 3) < 0.3, torch.nan)
    good, bad = (2.0 * bits - 1).requires_grad_(), torch.randn(NODES, 3)
    doctor = Doctor(graphkd.KDLoss(task="multilabel"))
    other = Doctor(graphkd.KDLoss(task="multilabel"))
    values = Doctor(graphkd.KDLoss(task="regression"))
    for _ in range(25):
        doctor(good, bad, y=y)
        other(bad.clone().requires_grad_(), good.detach(), y=y)
        values(bad[:, :1].clone().requires_grad_(), good.detach()[:, :1], y=torch.randn(NODES))
    assert "teacher-below-student" in codes(doctor)
    assert "teacher-below-student" not in codes(other) + codes(values)
    assert not values._failed


def test_masked_classes_are_finite() -> None:
    z = torch.randn(9, 4).index_fill(1, torch.tensor([2]), -torch.inf)
    doctor = Doctor(graphkd.KDLoss())
    doctor((2 * z).requires_grad_(), z)
    assert codes(doctor) == []
    doctor(z.clone().requires_grad_(), z.index_fill(1, torch.tensor([2]), torch.inf))
    assert codes(doctor) == ["not-finite"]


def test_a_weight_is_told_from_the_scale_of_a_scaler() -> None:
    scaler = torch.amp.GradScaler("cpu")
    torch.manual_seed(0)
    student, (_, z_t) = nn.Linear(12, 4), TEACHER(DATA.x)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    doctor = Doctor(graphkd.KDLoss(), student=student, optimizer=optimizer)
    for _ in range(25):
        z = student(DATA.x)
        task = F.cross_entropy(z, DATA.y)
        total = doctor(z, z_t, task_loss=task)
        optimizer.zero_grad()
        scaler.scale((task + total) / 2).backward()
        scaler.step(optimizer)
        scaler.update()
    assert codes(doctor) == []


def test_two_heads_that_learn_to_meet_in_a_point() -> None:
    heads = nn.Linear(WIDTH, 4), nn.Linear(16, 4)
    loss = graphkd.FitNetLoss(WIDTH, 16, head=heads)
    optimised = graphkd.WeightedSum(term=(100.0, loss))
    doctor = distilled(optimised, DATA, TEACHER, steps=400, every=10, lr=0.05)
    assert "collapsed-head" in codes(doctor)


@pytest.mark.parametrize(
    "loss", [graphkd.KDLoss(), graphkd.WeightedSum(kd=(1.0, graphkd.KDLoss()))]
)
def test_a_copy_is_a_doctor(loss: nn.Module) -> None:
    assert isinstance(copy.deepcopy(Doctor(loss)), Doctor)


def test_what_a_backward_pass_keeps_is_left_alone() -> None:
    class Kept(torch.autograd.Function):
        @staticmethod
        def forward(ctx, h, slope):
            ctx.save_for_backward(slope)
            return (h * slope).sum()

        @staticmethod
        def backward(ctx, grad):
            return ctx.saved_tensors[0], None

    h_s, slope = torch.randn(40, WIDTH, requires_grad=True), torch.randn(40, WIDTH)
    doctor = Doctor(graphkd.FitNetLoss(WIDTH, 16))
    for task in (
        Kept.apply(h_s, slope),
        h_s.sum(),
    ):  # the gradient of a sum is one number, expanded
        total = doctor(h_s, torch.randn(40, 16), task_loss=task)
        (task + total).backward()
    assert not doctor._failed


def test_what_cannot_be_read_counts_as_not_given() -> None:
    z_s, z_t = torch.randn(2, 60, 4)
    doctor = Doctor(graphkd.KDLoss())
    for task in (1.5, "one", torch.tensor(3)):
        doctor(z_s.clone().requires_grad_(), z_t, task_loss=task)
    for y in (torch.tensor(1), z_s.cfloat(), z_s.to_sparse(), "labels"):
        doctor(z_s.clone().requires_grad_(), z_t, y=y)
    assert not doctor._failed


@pytest.mark.parametrize("wrong", [False, True])
def test_labels_tell_a_matching_of_few_nodes(wrong: bool) -> None:
    torch.manual_seed(0)
    y = torch.randint(4, (34,))
    z_t = 3 * torch.eye(4)[y] + torch.randn(34, 4)
    doctor = Doctor(graphkd.KDLoss())
    for _ in range(3):
        doctor(torch.randn(34, 4, requires_grad=True), z_t.flip(0) if wrong else z_t, y=y)
    assert ("misaligned-rows" in codes(doctor)) == wrong


def test_a_head_that_starts_out_narrow_may_open_up() -> None:
    head = nn.Linear(WIDTH, 16)
    doctor = Doctor(graphkd.FitNetLoss(WIDTH, 16, head=(head, nn.Identity())))
    nn.init.zeros_(head.weight)
    for step in range(60):
        if step == 20:
            nn.init.normal_(head.weight)
        doctor(torch.randn(40, WIDTH, requires_grad=True), torch.randn(40, 16))
        assert ("collapsed-head" in codes(doctor)) == (step < 39)


@pytest.mark.parametrize("temperature", [1.0, 100.0])
def test_a_temperature_that_tells_no_keys_apart_is_chance(temperature: float) -> None:
    torch.manual_seed(0)
    h_s, h_t = torch.randn(100, WIDTH, requires_grad=True), torch.randn(100, WIDTH)
    loss = graphkd.GCRDLoss(WIDTH, WIDTH, head="identity", temperature=temperature)
    optimizer, doctor = torch.optim.Adam([h_s], lr=0.05), Doctor(loss, every=10)
    for _ in range(211):
        optimizer.zero_grad()
        doctor(h_s, h_t).backward()
        optimizer.step()
    assert ("at-chance" in codes(doctor)) == (temperature == 100.0)


@pytest.mark.parametrize(("often", "found"), [(10, []), (1, ["dominant-gradient"])])
def test_a_single_strong_step_does_not_dominate(often: int, found: list[str]) -> None:
    loss = graphkd.WeightedSum(term=(1.0, graphkd.FitNetLoss(4, 4, head="identity")))
    h_s, h_t = torch.randn(30, 4, requires_grad=True), torch.randn(30, 4)
    doctor = Doctor(loss)
    for step in range(60):
        loss.weights["term"] = 1e6 if step % often == 0 else 1.0
        total, _ = doctor(h_s=h_s, h_t=h_t, task_loss=(task := h_s.square().mean()))
        (task + total).backward()
    assert codes(doctor) == found
