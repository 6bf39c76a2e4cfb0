"""Checks of the terms' values: too small for float32, and contrast that stays at chance."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from graphkd.diagnostics.doctor.call import Call, Term
from graphkd.diagnostics.doctor.finding import Finding
from graphkd.diagnostics.doctor.windows import Windows
from graphkd.losses.contrast.crd import CRDLoss
from graphkd.losses.contrast.gcrd import GCRDLoss

# A float32 sum of 1 and half of this is 1.
EPSILON = 2.0**-23
# A contrastive loss has so many steps to leave chance by this part of what it could gain.
STEPS, LEFT = 200, 0.02
# Or by this part of chance itself.
NEAR = 0.005


class BelowResolution:
    """A term that is 0 to float32: alone, or beside the task loss that it is added to."""

    def __init__(self) -> None:
        self._values: dict[str, Windows] = {}

    def see(self, call: Call) -> None:
        """Note the values of the terms, and of the task loss."""
        if not call.training:
            return
        task = (
            float("nan") if call.task_loss is None else abs(float(call.task_loss.detach().mean()))
        )
        for term in call.terms:
            value = abs(float(term.value.detach().mean()))
            if term.weight and math.isfinite(value):
                windows = self._values.setdefault(term.name, Windows())
                weighted = value * abs(term.weight)
                windows.add(call.step, value=value, weighted=weighted, task=task)

    def findings(self) -> Iterator[Finding]:
        """The first term that no window could tell from 0."""
        for name, windows in self._values.items():
            if not windows.means:
                continue
            value, weighted = max(windows.of("value")), max(windows.of("weighted"))
            task = max(windows.of("task"), default=0.0)
            if value > EPSILON**2 and weighted > task * EPSILON / 2:
                continue
            beside = f", {weighted:.1e} with its weight beside a task loss of {task:.2g}" * bool(
                task
            )
            yield Finding(
                "below-resolution",
                f"{name} is at most {value:.1e} on average over every window{beside}: float32 "
                "cannot tell this from 0.",
                "If it is exactly 0, check that h_t is the teacher's and not the student's, and "
                "that the graph has nodes with several neighbours. Else raise its weight by powers "
                "of ten, use reduction='sum' where a mean over many nodes shrinks it, or "
                "WeightedSum(balance=True).",
            )
            return


class AtChance:
    """G-CRD and CRD after 200 steps, beside what they are worth if no row knows its key."""

    def __init__(self) -> None:
        self._gains: dict[str, Windows] = {}
        self._steps = 0

    def see(self, call: Call) -> None:
        """Note the part of the possible gain over chance that each contrastive loss has."""
        if not call.training:
            return
        self._steps = call.step + 1
        for term in call.parts:
            if not isinstance(term.loss, (GCRDLoss, CRDLoss)) or term.value.dim():
                continue
            if isinstance(term.loss, GCRDLoss) and term.loss.teacher_temperature is not None:
                continue  # the level of soft targets depends on the teacher
            keys = _keys(term)
            if keys < 4 or term.loss.reduction != "mean":
                continue
            chance, most = _chance(term.loss, keys)
            value = float(term.value.detach())
            windows = self._gains.setdefault(term.name, Windows())
            # At a high temperature little can be gained, and what was gained is little of chance.
            gain = min((chance - value) / most, (chance - value) / chance / NEAR * LEFT)
            windows.add(call.step, gain=gain, value=value, chance=chance, keys=keys)

    def findings(self) -> Iterator[Finding]:
        """The first loss whose best window is at chance still."""
        for name, windows in self._gains.items():
            if self._steps < STEPS or not windows.means or max(windows.of("gain")) > LEFT:
                continue
            last = windows.means[-1]
            yield Finding(
                "at-chance",
                f"After {self._steps} steps {name} is {last['value']:.3f}; by chance among "
                f"{last['keys']:.0f} keys it is {last['chance']:.3f}. No row has learned which "
                "key is its own.",
                "Check that rows match (row i is one node on both sides), that the optimiser holds "
                "the heads (objective.parameters()), and that the rows differ from node to node; "
                "then raise the weight or lower the temperature.",
            )
            return


def _keys(term: Term) -> float:
    """How many keys a row is compared with."""
    loss: Any = term.loss
    h_s: Any = term.arguments["h_s"]
    index = term.arguments.get("index")
    rows = h_s.size(0)
    if isinstance(index, Tensor):
        rows = int(index.sum()) if index.dtype == torch.bool else index.numel()
    if isinstance(loss, CRDLoss):
        most = loss.num_nodes - 1
        return min(loss.num_negatives or most, most) + 1
    if loss.max_samples is not None:
        rows = min(rows, loss.max_samples)
    extra = term.arguments.get("extra_keys")
    more = 0 if extra is None else extra.size(0)
    return float(rows + more + term.queued)


def _chance(loss: Any, keys: float) -> tuple[float, float]:
    """The value if all keys are alike, and how far below it a value can lie."""
    if isinstance(loss, GCRDLoss):
        temperature = float(loss.temperature)
        least = math.log1p((keys - 1) * math.exp(-2 / temperature)) if temperature > 0.01 else 0.0
        return math.log(keys), math.log(keys) - least
    chance = 2 * (math.log(keys) + (keys - 1) * math.log1p(1 / (keys - 1)))
    return chance, chance
