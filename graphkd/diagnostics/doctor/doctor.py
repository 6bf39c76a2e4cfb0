"""The doctor of a run: it is called in the objective's place, and says what it saw."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from graphkd._checks import check_count, describe
from graphkd._precision import followed
from graphkd.diagnostics.doctor.call import Call, by_name, taken_by
from graphkd.diagnostics.doctor.finding import Check, Finding
from graphkd.diagnostics.doctor.gradients import Gradients
from graphkd.diagnostics.doctor.kernels import SaturatedKernel
from graphkd.diagnostics.doctor.labels import TeacherBelowStudent
from graphkd.diagnostics.doctor.logits import Logits
from graphkd.diagnostics.doctor.matching import Misaligned
from graphkd.diagnostics.doctor.modules import TeacherGradient, TeacherMode, Unoptimised
from graphkd.diagnostics.doctor.report import report
from graphkd.diagnostics.doctor.rows import CollapsedHead, DeadRows, NotFinite
from graphkd.diagnostics.doctor.values import AtChance, BelowResolution
from graphkd.diagnostics.doctor.watch import Watch, complete
from graphkd.losses._base import arguments_of

_log = logging.getLogger("graphkd")
# So much is kept of an error's first line.
_SAID = 120
# In the order of the report: what spoils all else first.
_CHECKS: tuple[type[Check], ...] = (
    NotFinite, Unoptimised, TeacherMode, TeacherGradient, Logits, Misaligned, TeacherBelowStudent,
    CollapsedHead, DeadRows, SaturatedKernel, BelowResolution, Gradients, AtChance,
)  # fmt: skip


class Doctor(nn.Module):
    r"""Watches a run of distillation, and says in plain words what ails it.

    It wraps a loss, a :class:`graphkd.WeightedSum` or a Module of your own, is called in its place
    with the same arguments, and returns what it returns. Every ``every``-th call in training it
    looks at what passed: rows, heads, kernels, values, and the gradients of each term and of the
    task at the student's rows. :doc:`/diagnostics/doctor` has all codes, and when they fire.

    It changes nothing: no value, gradient, random state, buffer or mode. A check of its own that
    fails is logged once at level DEBUG and named in the report; it never raises. It looks at
    nothing under ``torch.no_grad()``, in ``torch.compile`` and in ``torch.func``. Its
    ``state_dict`` is the objective's, so that checkpoints of runs with and without it are the
    same. Attributes of the objective are attributes of it.

    Args:
        objective: The loss. Parameters, mode and device of the doctor are its own.
        student: The student. Then its parameters are looked up in the optimiser, too.
        teacher: The teacher. Then its mode is looked at.
        optimizer: The optimiser that trains student and heads, or a list of several. It may be set
            later: ``doctor.optimizer = ...``.
        every: Look at each so many-th call. A window of the checks that average is 20 steps, and at
            least 3 calls that were looked at.

    Shapes:
        - **task_loss:** a scalar, for the call; it is not added. The checks of pulls need it
        - **y:** labels :math:`[N]` for the call, -1 where unknown; or :math:`[N, C]` of zeros and
          ones, NaN where unknown; or a dictionary by node type. The objective gets them only if
          it takes them

    Raises:
        TypeError: If ``objective`` is no Module, ``optimizer`` no optimiser, or ``student`` or
            ``teacher`` no Module.
        ValueError: If ``every`` is below 1.

    Example:
        >>> import torch
        >>> from graphkd import FitNetLoss
        >>> from graphkd.diagnostics import Doctor
        >>> student, loss = torch.nn.Linear(3, 2), FitNetLoss(2, 4)
        >>> forgetful = torch.optim.Adam(student.parameters())
        >>> doctor = Doctor(loss, student=student, optimizer=forgetful)
        >>> _ = doctor(student(torch.randn(9, 3)), torch.randn(9, 4))
        >>> doctor.findings()[0].code
        'unoptimised-parameters'
    """

    def __init__(
        self,
        objective: nn.Module,
        *,
        student: nn.Module | None = None,
        teacher: nn.Module | None = None,
        optimizer: torch.optim.Optimizer | Iterable[torch.optim.Optimizer] | None = None,
        every: int = 1,
    ) -> None:
        super().__init__()
        if not isinstance(objective, nn.Module):
            raise TypeError(
                f"Doctor: objective must be a loss as a Module; got {describe(objective)}. Pass "
                "the Module of that loss, such as KDLoss() for kd_loss."
            )
        for name, model in {"student": student, "teacher": teacher}.items():
            if model is not None and not isinstance(model, nn.Module):
                raise TypeError(
                    f"Doctor: {name} must be a Module; got {describe(model)}. Its outputs belong "
                    "into the call; leave it out if there is no model at hand."
                )
        check_count("Doctor: every", every, least=1)
        self.objective, self.every, self.optimizer = objective, every, optimizer
        # In a tuple they are no submodules: .train() and .parameters() are the objective's alone.
        self._models = (student, teacher)
        self._takes = taken_by(objective)
        self._steps = self._looked = 0
        self._checks = [kind() for kind in _CHECKS]
        self._failed: dict[str, str] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "optimizer":
            _optimizers(value)
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            # Python's own protocols, such as copying, are the doctor's.
            if name == "objective" or name.startswith("__"):
                raise
            return getattr(self.objective, name)

    def names_of_arguments(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The names that a call takes and needs: the objective's."""
        return arguments_of(self.objective)

    def forward(
        self, *args: Any, task_loss: Tensor | None = None, y: Any = None, **kwargs: Any
    ) -> Any:
        """What the objective returns."""
        handed = {"task_loss": task_loss, "y": y}
        kwargs |= {k: v for k, v in handed.items() if v is not None and k in self._takes}
        if followed() or not torch.is_grad_enabled():
            return self.objective(*args, **kwargs)
        step, training = self._steps, self.objective.training
        self._steps += training
        if step % self.every:
            return self.objective(*args, **kwargs)
        with Watch(self.objective) as watch:
            result = self.objective(*args, **kwargs)
        try:
            call = self._call(step, training, args, kwargs, task_loss, y)
            complete(call, watch, result)
        except Exception as error:
            self._note("reading the call", error)
            return result
        self._looked += 1
        for check in self._checks:
            try:
                check.see(call)
            except Exception as error:
                self._note(type(check).__name__, error)
        return result

    def _call(
        self, step: int, training: bool, args: Any, kwargs: Any, task_loss: Any, y: Any
    ) -> Call:
        arguments = by_name(self.objective, args, kwargs)
        student, teacher = self._models
        optimizers = _optimizers(self.optimizer)
        task = task_loss if _readable(task_loss) and task_loss.is_floating_point() else None
        known = y if isinstance(y, Mapping) or (_readable(y) and y.dim()) else None
        call = Call(step, self.every, training, self.objective, arguments, task, known)
        call.student, call.teacher, call.optimizers = student, teacher, optimizers
        return call

    def _note(self, what: str, error: Exception) -> None:
        """Keep that something of the doctor's own went wrong, and log it once."""
        if what not in self._failed:
            said = f"{type(error).__name__}: {error}".splitlines()[0]
            self._failed[what] = said[:_SAID]
            _log.debug("Doctor: %s failed", what, exc_info=error)

    def findings(self) -> list[Finding]:
        """What was found so far: ``(code, message, remedy)``, each code once."""
        found: dict[str, Finding] = {}
        for check in self._checks:
            try:
                for finding in check.findings():
                    found.setdefault(finding.code, finding)
            except Exception as error:
                self._note(type(check).__name__, error)
        return list(found.values())

    def report(self) -> str:
        """The findings as a text, each term's pull, and what could not be looked at."""
        findings = self.findings()
        pulls = next(check.pulls() for check in self._checks if isinstance(check, Gradients))
        return report(findings, self._steps, self._looked, self._failed, pulls)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The objective's state, without a name before it."""
        return self.objective.state_dict(*args, **kwargs)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        for key in [key for key in state_dict if key.startswith(prefix)]:
            state_dict[f"{prefix}objective.{key.removeprefix(prefix)}"] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        """How often it looks, for ``repr``."""
        return f"every={self.every}"


def _readable(value: Any) -> bool:
    """Whether the checks can read it: a number's item or a sparse tensor counts as not given."""
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_complex()


def _optimizers(given: Any) -> tuple[torch.optim.Optimizer, ...]:
    """The optimisers, checked."""
    alone = given is None or hasattr(given, "param_groups") or not isinstance(given, Iterable)
    found = () if given is None else (given,) if alone else tuple(given)
    for one in found:
        if not hasattr(one, "param_groups") or isinstance(one, Mapping):
            raise TypeError(
                f"Doctor: optimizer must be a torch.optim.Optimizer, or a list of them; got "
                f"{describe(one)}. Pass the one whose step() trains the student."
            )
    return found
