"""Checks of modules: parameters that no optimiser holds, and the teacher's mode and gradient."""

from collections.abc import Iterator

from torch import nn

from graphkd.diagnostics.doctor.call import Call
from graphkd.diagnostics.doctor.finding import Finding, several


class Unoptimised:
    """Parameters that learn but that no optimiser holds."""

    def __init__(self) -> None:
        self._missing: list[str] = []
        self._count = 0

    def see(self, call: Call) -> None:
        """Compare the parameters with those of the optimisers."""
        if not call.optimizers:
            return
        groups = [group for optimizer in call.optimizers for group in optimizer.param_groups]
        held = {id(p) for group in groups for p in group["params"]}
        held |= set() if call.teacher is None else {id(p) for p in call.teacher.parameters()}
        self._missing, self._count = [], 0
        for owner, module in (("objective", call.objective), ("student", call.student)):
            for name, parameter in () if module is None else module.named_parameters():
                if parameter.requires_grad and id(parameter) not in held:
                    held.add(id(parameter))
                    self._missing.append(f"{owner}.{name}")
                    self._count += 1

    def findings(self) -> Iterator[Finding]:
        """As of the latest call."""
        if self._missing:
            whose = {name.partition(".")[0] for name in self._missing}
            them = " and ".join(sorted(whose))
            yield Finding(
                "unoptimised-parameters",
                f"{self._count} parameters of the {them} require a gradient, but no optimiser "
                f"holds them: {several(self._missing)}. They stay as they were drawn.",
                "Give the optimiser the parameters of both: torch.optim.Adam([*student."
                "parameters(), *objective.parameters()], lr=...). What is not to learn: "
                ".requires_grad_(False).",
            )


class TeacherMode:
    """A teacher whose dropout draws and whose BatchNorm moves while it teaches."""

    def __init__(self) -> None:
        self._seen, self._calls = 0, 0
        self._names: list[str] = []

    def see(self, call: Call) -> None:
        """Look at the modes of the teacher's modules."""
        if call.teacher is None:
            return
        self._calls += 1
        training = [
            f"{name or 'the teacher'} ({type(part).__name__})"
            for name, part in call.teacher.named_modules()
            if part.training and (not name or _changes(part))
        ]
        if training:
            self._seen += 1
            self._names = training

    def findings(self) -> Iterator[Finding]:
        """Over all calls."""
        if self._seen:
            yield Finding(
                "teacher-in-training-mode",
                f"In {self._seen} of {self._calls} checked calls the teacher was in training mode: "
                f"{several(self._names)}. Dropout then makes another target in every step, and "
                "BatchNorm moves its statistics.",
                "Freeze it before it teaches: graphkd.freeze(teacher). That also survives .train() "
                "of a module that holds both models.",
            )


def _changes(module: nn.Module) -> bool:
    """Whether a module's output may depend on its mode: not that of torch's own plain layers."""
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.p > 0
    if isinstance(module, nn.modules.batchnorm._NormBase):
        return True
    known = type(module).__module__.startswith("torch.nn")
    return not known or bool(getattr(module, "dropout", 0))


class TeacherGradient:
    """Teacher outputs that carry autograd's graph, and a teacher that an optimiser trains."""

    def __init__(self) -> None:
        self._tensors: dict[str, int] = {}
        self._calls, self._trained = 0, 0

    def see(self, call: Call) -> None:
        """Look at what the teacher's tensors and parameters require."""
        if not call.training:
            return
        self._calls += 1
        for label, h in call.side("t"):
            if h.requires_grad:
                self._tensors[label] = self._tensors.get(label, 0) + 1
        if call.teacher is not None:
            own = {id(p) for p in call.teacher.parameters() if p.requires_grad}
            groups = [group for optimizer in call.optimizers for group in optimizer.param_groups]
            self._trained = sum(id(p) in own for group in groups for p in group["params"])

    def findings(self) -> Iterator[Finding]:
        """Over all calls; of the optimiser, as of the latest."""
        if not self._tensors and not self._trained:
            return
        seen = []
        if self._tensors:
            label, count = max(self._tensors.items(), key=lambda pair: pair[1])
            seen.append(
                f"{several(list(self._tensors))} required a gradient ({label} in {count} of "
                f"{self._calls} checked calls): the teacher's forward pass is recorded in every "
                "step, and a loss that does not cut it off trains the teacher towards the student"
            )
        if self._trained:
            seen.append(f"the optimiser holds {self._trained} parameters of the teacher")
        message = "; ".join(seen)
        yield Finding(
            "teacher-gets-gradient",
            f"{message[0].upper() if not self._tensors else message[0]}{message[1:]}.",
            "Run a frozen teacher: graphkd.freeze(teacher), and with torch.no_grad(): h_t, z_t = "
            "teacher(...); leave its parameters out of the optimiser.",
        )
