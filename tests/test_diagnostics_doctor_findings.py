"""Planted faults, each found by its code; and healthy runs, on which the doctor is silent."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import graphkd
from tests.doctored import CLASSES, NODES, WIDTH, Net, blocks, codes, distilled, trained

DATA = blocks()
TEACHER = trained(DATA)
ORDER = torch.randperm(NODES, generator=torch.Generator().manual_seed(3))
Four = tuple[Tensor, Tensor, Tensor, Tensor]


def _sum(weight: float = 1.0, loss: nn.Module | None = None) -> graphkd.WeightedSum:
    torch.manual_seed(0)
    return graphkd.WeightedSum(term=(weight, loss or graphkd.KDLoss()))


def _fitnet(weight: float = 10.0, **options: Any) -> graphkd.WeightedSum:
    torch.manual_seed(0)
    return _sum(weight, graphkd.FitNetLoss(WIDTH, 16, **options))


def _gcrd(**options: Any) -> graphkd.WeightedSum:
    torch.manual_seed(0)
    return _sum(0.1, graphkd.GCRDLoss(WIDTH, 16, 8, **options))


def _shuffled(h_s: Tensor, z_s: Tensor, h_t: Tensor, z_t: Tensor) -> Four:
    return h_s, z_s, h_t[ORDER], z_t[ORDER]


def _untrained() -> nn.Module:
    torch.manual_seed(5)
    return Net(12, 16, DATA).eval().requires_grad_(False)


def _dead(h_s: Tensor, z_s: Tensor, h_t: Tensor, z_t: Tensor) -> Four:
    return h_s, z_s, h_t * (torch.arange(NODES) % 5 > 0)[:, None], z_t


def _holes(h_s: Tensor, z_s: Tensor, h_t: Tensor, z_t: Tensor) -> Four:
    return h_s, z_s, h_t.index_fill(0, torch.tensor([3, 5]), torch.nan), z_t


def _zeroed() -> graphkd.WeightedSum:
    objective = _fitnet()
    nn.init.zeros_(objective.losses["term"].head_s.map.weight).requires_grad_(False)
    return objective


FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "a head without an optimiser": (
        "unoptimised-parameters", {"objective": _fitnet, "heads": False}
    ),
    "a teacher with dropout": (
        "teacher-in-training-mode", {"teacher": lambda: trained(DATA, steps=9).train()}
    ),
    "a teacher that is recorded": (
        "teacher-gets-gradient",
        {"change": lambda h_s, z_s, h_t, z_t: (h_s, z_s, h_t.requires_grad_(), z_t)},
    ),
    "NaN at the teacher": ("not-finite", {"objective": _fitnet, "change": _holes}),
    "probabilities": (
        "probabilities-for-logits",
        {"change": lambda h_s, z_s, h_t, z_t: (h_s, z_s, h_t, z_t.softmax(1))},
    ),
    "probabilities of labels": (
        "probabilities-for-logits",
        {"objective": lambda: _sum(1.0, graphkd.KDLoss(1.0, task="multilabel")),
         "change": lambda h_s, z_s, h_t, z_t: (h_s, z_s, h_t, z_t.sigmoid())},
    ),
    "several labels": (
        "softmax-of-several-labels",
        {"y": (torch.arange(NODES)[:, None] % 3 >= torch.arange(CLASSES)).float()},
    ),
    "an untrained teacher": (
        "teacher-below-student", {"teacher": _untrained, "y": DATA.y, "steps": 60}
    ),
    "shuffled rows": ("misaligned-rows", {"change": _shuffled}),
    "shuffled rows, nothing but rows": (
        "misaligned-rows",
        {"change": _shuffled, "objective": _fitnet,
         "arguments": lambda h_s, h_t, **_: {"h_s": h_s, "h_t": h_t}},
    ),
    "shuffled rows, with labels": ("misaligned-rows", {"change": _shuffled, "y": DATA.y}),
    "a head of zeros": ("collapsed-head", {"objective": _zeroed}),
    "a head through one unit": (
        "collapsed-head",
        {"objective": lambda: _fitnet(head=(
            nn.Sequential(nn.Linear(WIDTH, 1), nn.Linear(1, 16)), nn.Identity()))},
    ),
    "zero rows": ("dead-rows", {"objective": _gcrd, "change": _dead}),
    "a narrow rbf": (
        "saturated-kernel",
        {"objective": lambda: _sum(1.0, graphkd.GlobalLSPLoss("rbf", gamma=99.0))},
    ),
    "one row for all": (
        "saturated-kernel",
        {"objective": lambda: _sum(1.0, graphkd.LSPLoss()),
         "change": lambda h_s, z_s, h_t, z_t: (h_s, z_s, torch.ones_like(h_t), z_t)},
    ),
    "the student as its own teacher": (
        "below-resolution",
        {"change": lambda h_s, z_s, h_t, z_t: (h_s, z_s, h_s.detach(), z_s.detach())},
    ),
    "a tiny weight": ("negligible-gradient", {"objective": lambda: _sum(1e-7)}),
    "a tiny weight outside": ("negligible-gradient", {"outer": 1e-7}),
    "a detached student": (
        "negligible-gradient",
        {"objective": _fitnet,
         "change": lambda h_s, z_s, h_t, z_t: (h_s.detach(), z_s, h_t, z_t)},
    ),
    "a huge weight": ("dominant-gradient", {"objective": lambda: _sum(1e6)}),
    "a huge weight outside": ("dominant-gradient", {"outer": 1e6}),
    "a negative weight": ("opposing-gradient", {"objective": lambda: _sum(-1.0)}),
    "a negative weight outside": ("opposing-gradient", {"outer": -1.0}),
    "classes in another order": (
        "opposing-gradient",
        {"change": lambda h_s, z_s, h_t, z_t: (h_s, z_s, h_t, z_t.roll(1, 1))},
    ),
    "keys that change places": (
        "at-chance",
        {"objective": _gcrd, "steps": 210, "every": 10,
         "change": lambda h_s, z_s, h_t, z_t: (h_s, z_s, h_t[torch.randperm(NODES)], z_t)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("every", [1, 10])
def test_a_planted_fault_is_found(fault: str, every: int) -> None:
    code, how = FAULTS[fault]
    how = {"objective": _sum, "teacher": lambda: TEACHER, "every": every, **how}
    doctor = distilled(how.pop("objective")(), DATA, how.pop("teacher")(), **how)
    assert code in codes(doctor)
    assert not doctor._failed
    finding = next(f for f in doctor.findings() if f.code == code)
    assert code in doctor.report()
    assert finding.message.endswith(".")
    assert finding.remedy.endswith(".")


def test_values_between_0_and_1_are_no_probabilities() -> None:
    objective = _sum(1.0, graphkd.KDLoss(task="regression"))
    doctor = distilled(
        objective, DATA, TEACHER, steps=3,
        change=lambda h_s, z_s, h_t, z_t: (h_s, z_s, h_t, z_t.sigmoid()),
    )  # fmt: skip
    assert "probabilities-for-logits" not in codes(doctor)


def test_the_report_ends_with_the_pulls() -> None:
    pulls = []
    for weight in (1.0, 10.0):
        report = distilled(_sum(weight), DATA, TEACHER, steps=3).report()
        pulls.append(float(re.search(r"the task's being 1: term (\S+)\.$", report)[1]))
    assert pulls[1] / pulls[0] == pytest.approx(10, rel=0.5)


# What a few steps do not tell: opposition waits for a window, chance for 200 steps, and a matching
# that has the student's rows alone to go by for what the student learns.
WAIT = {"shuffled rows", "shuffled rows, nothing but rows"}
WAIT |= {f for f, (code, _) in FAULTS.items() if code in ("opposing-gradient", "at-chance")}


@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - WAIT))
def test_a_run_of_three_steps_shows_its_fault(fault: str) -> None:
    code, how = FAULTS[fault]
    how = {"objective": _sum, "teacher": lambda: TEACHER, **how, "steps": 3}
    doctor = distilled(how.pop("objective")(), DATA, how.pop("teacher")(), **how)
    assert (code in codes(doctor)) != (fault == "an untrained teacher")  # nor is the student


HEALTHY: dict[str, Any] = {
    "kd": _sum,
    "kd, not softened": lambda: _sum(1.0, graphkd.KDLoss(1.0)),
    "fitnet": _fitnet,
    "gcrd": _gcrd,
    "gcrd, symmetric and warm": lambda: _gcrd(symmetric=True, temperature=1.0),
    "lsp": lambda: _sum(10.0, graphkd.LSPLoss()),
    "global lsp": lambda: _sum(10.0, graphkd.GlobalLSPLoss("rbf", gamma="median")),
    "attention transfer": lambda: _sum(100.0, graphkd.AttentionTransferLoss()),
    "crd": lambda: _sum(0.1, graphkd.CRDLoss(WIDTH, 16, NODES, 8)),
    "balanced": lambda: graphkd.WeightedSum(
        balance=True, kd=(1.0, graphkd.KDLoss()), sp=(1.0, graphkd.SimilarityPreservingLoss())
    ),
    "left out": lambda: _sum(0.0),
    "labels": lambda: _sum(1.0, graphkd.KDLoss(1.0, task="multilabel")),
}


@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.parametrize("seed", [0, 7])
def test_a_healthy_run_is_left_alone(name: str, seed: int) -> None:
    data = blocks(seed)
    steps = 220 if "gcrd" in name else 60
    doctor = distilled(HEALTHY[name](), data, trained(data), steps=steps, every=2, y=data.y)
    assert "and found nothing.\n" in doctor.report() + "\n"


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_run_of_three_steps_is_left_alone(name: str) -> None:
    doctor = distilled(HEALTHY[name](), DATA, TEACHER, steps=3, y=DATA.y)
    assert "and found nothing.\n" in doctor.report() + "\n"
