"""Tap the hidden states of a layer, whatever the model does with them afterwards."""

import copy
import dataclasses
import difflib
import warnings
import weakref
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from graphkd._checks import describe, tensors_in
from graphkd._precision import in_backward


def _kept_and_handed(value: Any, seen: list[tuple[Tensor, tuple[Tensor, Tensor]]]) -> Any:
    """What a Tap keeps of an output, and what the model goes on with: neither changes the other.

    Of a tensor with a gradient, the model gets the copy. Its logits then depend on the kept rows,
    as ``WeightedSum(balance=True)`` needs it. ``seen`` holds the tensors that came before: what is
    in an output twice stays one tensor.
    """
    if isinstance(value, Tensor):
        for known, pair in seen:
            if known is value:
                return pair
        duplicate = value.clone()
        if torch.compiler.is_compiling() or torch._C._get_tracing_state():
            # A later change shows in no version counter, and not all traces record gradients.
            pair = duplicate, duplicate.clone()
        elif not value.requires_grad:
            pair = duplicate, value
        elif value.is_leaf:  # a parameter, which the optimizer will change
            pair = duplicate, duplicate.clone()
        else:
            pair = value, duplicate
        seen.append((value, pair))
        return pair
    if isinstance(value, (tuple, list)):
        pairs = [_kept_and_handed(part, seen) for part in value]
        sides = [kept for kept, _ in pairs], [handed for _, handed in pairs]
        return tuple(_sequence(value, side) for side in sides)
    if isinstance(value, dict):
        kept, handed = _shallow(value), _shallow(value)
        for key, part in value.items():
            kept[key], handed[key] = _kept_and_handed(part, seen)
        return kept, handed
    if hasattr(value, "__dataclass_fields__"):
        names = [one.name for one in dataclasses.fields(value) if hasattr(value, one.name)]
    elif hasattr(value, "clone"):
        return value, value.clone()
    else:
        own = getattr(value, "__dict__", {})
        names = [name for name, part in own.items() if next(tensors_in(part), None) is not None]
    if not names:
        return value, value
    sides = copy.copy(value), copy.copy(value)  # its constructor may compute something anew
    for name in names:
        parts = _kept_and_handed(getattr(value, name), seen)
        for side, part in zip(sides, parts, strict=True):
            object.__setattr__(side, name, part)  # also of a frozen dataclass
    return sides


def _sequence(value: Any, parts: list[Any]) -> Any:
    """A sequence of the value's type. The constructor of a subclass may take something else."""
    make: Any = type(value)
    if isinstance(value, list) and make is not list:
        new = copy.copy(value)
        new[:] = parts
        return new
    if hasattr(value, "_fields"):
        return make(*parts)
    try:
        return make(parts)
    except TypeError:
        new = tuple.__new__(make, parts)
        if hasattr(value, "__dict__"):
            vars(new).update(vars(value))
        return new


def _shallow(value: dict[Any, Any]) -> dict[Any, Any]:
    new = value.copy()
    return new if type(new) is type(value) else copy.copy(value)


_UNKNOWN = -1  # what a compiled graph says of the time


class _Capture:
    """A forward hook that keeps the output. A copied or pickled model gets an empty one."""

    def __init__(self, part: nn.Module | None = None) -> None:
        self.part = None if part is None else weakref.ref(part)  # the model may be dropped
        self.clear()

    def clear(self) -> None:
        self.outputs: list[Any] = []
        self.versions: list[tuple[Tensor, int]] = []
        # Of the last run: whether it recorded gradients, and was in training mode.
        self.recorded = self.trained = False
        # When rows with a gradient came that have not been read, and such rows of training mode.
        self.unread_gradient: int | None = None
        self.unread_training: int | None = None

    @property
    def now(self) -> int:
        """A number that grows with each step of the optimizer."""
        learning = None if self.part is None else _learning(self.part())
        return _UNKNOWN if learning is None else learning._version

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        kept, handed = _kept_and_handed(output, [])
        compiling = torch.compiler.is_compiling()
        if not compiling:
            if getattr(module, "_is_replica", False):
                raise RuntimeError(
                    "Tap: the tapped layer runs in several replicas of torch.nn.DataParallel, and "
                    f"none of them has all rows; got {type(module).__name__} on one of them. Use "
                    "one device or DistributedDataParallel, or return the rows from the model."
                )
            if in_backward():
                return handed  # a checkpoint repeats the layer in the backward pass
        self.outputs[:] = [kept]
        self.versions = [] if compiling else _versions(kept)
        self.recorded, self.trained = torch.is_grad_enabled(), module.training
        # A compiled graph would be guarded on what it reads here: it only writes.
        if any(rows.requires_grad for rows in tensors_in(kept)):
            self.unread_gradient = now = _UNKNOWN if compiling else self.now
            if module.training:
                self.unread_training = now
        return handed

    @property
    def __name__(self) -> str:
        """What torch.jit.script asks for first."""
        raise AttributeError(
            "torch.jit.script cannot compile a model with a Tap; got a hook of graphkd.Tap. Call "
            "tap.close() before, or torch.jit.trace."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _Capture, ()


def _learning(part: nn.Module | None) -> nn.Parameter | None:
    """The first parameter that learns; all would take as long to visit as a small model runs."""
    parameters = () if part is None else part.parameters()
    return next((parameter for parameter in parameters if parameter.requires_grad), None)


def _versions(kept: Any) -> list[tuple[Tensor, int]]:
    """The tensors that the model may change unseen, with their version counters."""
    return [(rows, rows._version) for rows in tensors_in(kept) if rows.requires_grad]


class Tap:
    """Captures the latest output of a layer, given its name, without changing what the model gives.

    Use it as a context manager, or keep it and call :meth:`close`. The output keeps its autograd
    graph, and stays readable after the tap is closed. Only modules can be tapped. For example,
    PyG's ``MLP`` applies dropout as a function after its ``act``, so ``"act"`` gives the state
    before dropout.

    The model goes on with a copy of the output. So :attr:`value` is what the layer gave, also if
    the model then changes it in place, as ``nn.ReLU(inplace=True)`` and ``+=`` do. Lists, tuples,
    dictionaries, dataclasses and other objects with tensors are copied likewise. The copy
    takes 1 to 5 % of a training step on a CPU, and the memory of the output. A tap that nobody
    holds is closed. ``copy.copy`` of an open tap's layer runs the layer itself; ``copy.deepcopy``
    does not.

    Args:
        model: The model that holds the layer.
        layer: The layer's name as in ``model.named_modules()``, e.g. ``"convs.1"``.

    Raises:
        ValueError: If the model has no layer of that name; the error lists its layers.
        TypeError: If ``model`` is not a Module, the layer is scripted, or the model is compiled:
            a hook added after compilation does not fire.
        RuntimeError: If :attr:`value` is read before the layer has run, after its hook was removed
            from the layer, or after the output was changed in place through another name; and if
            the layer runs in several replicas of ``nn.DataParallel``.

    Warns:
        UserWarning: If :attr:`value` is read where gradients are recorded, and has none although
            one was to be expected: the layer ran in training mode under ``torch.no_grad()`` or in
            a checkpoint with ``use_reentrant=True``, or an evaluation came between.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> with Tap(model, "1") as tap:
        ...     logits = model(torch.ones(3, 4))
        >>> tap.value.shape
        torch.Size([3, 8])
    """

    def __init__(self, model: nn.Module, layer: str) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"Tap takes a torch.nn.Module; got {describe(model)}.")
        modules = dict(model.named_modules(remove_duplicate=False))
        for name, module in modules.items():
            if _is_compiled(module):
                raise TypeError(
                    f"Tap: {f'layer {name!r}' if name else 'the model'} is compiled, and a hook "
                    "added after compilation does not fire. Make the Tap on the model before "
                    "torch.compile."
                )
        if not isinstance(layer, str) or layer not in modules:
            near = difflib.get_close_matches(str(layer), modules, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"Tap: {type(model).__name__} has no layer {layer!r}.{hint} Its layers are "
                f"{', '.join(repr(name) for name in modules if name)}. A function such as F.relu "
                "is no layer: make it a Module, such as nn.ReLU(), or tap the layer before it."
            )
        if isinstance(modules[layer], torch.jit.ScriptModule):
            raise TypeError(
                f"Tap: layer {layer!r} is scripted, and takes no hook; got "
                f"{describe(modules[layer])}. Tap the module that it was made of."
            )
        self.layer = layer
        self._module = modules[layer]
        # The part of the model that has to learn, if anything does. A teacher may be in one model
        # with the student.
        path = layer.split(".")
        around = [modules[".".join(path[:depth])] for depth in range(len(path), -1, -1)]
        self._part = next((part for part in around if any(True for _ in part.parameters())), model)
        self._capture = _Capture(self._part)
        self._handle: RemovableHandle | None = None
        self._attach()

    def _attach(self) -> None:
        if self._handle is None:
            self._capture.clear()
            self._handle = self._module.register_forward_hook(self._capture)
            # torch.compile does not look at hooks when it reuses what it compiled for another model
            # of this shape. It does look at whether the layer itself has a forward.
            self._module.__dict__["forward"] = self._module.forward

    @property
    def value(self) -> Any:
        """The latest output of the layer."""
        capture = self._capture
        if torch.compiler.is_compiling() and capture.outputs:
            return capture.outputs[0]
        if self._handle is not None and self._handle.id not in self._module._forward_hooks:
            raise RuntimeError(
                f"Tap: its hook was removed from layer {self.layer!r}, and the value is not of the "
                "latest run. Make a new Tap."
            )
        if not capture.outputs:
            raise RuntimeError(
                f"Tap: layer {self.layer!r} has not run since the tap was made. Call the model "
                "first; a layer whose forward is bypassed cannot be tapped."
            )
        for rows, version in capture.versions:
            if rows._version != version:
                raise RuntimeError(
                    f"Tap: the output of layer {self.layer!r} was changed in place after the layer "
                    "ran: by a reader of tap.value, or through the layer's input, whose memory it "
                    f"shares; got version {rows._version} of a tensor kept at version {version}. "
                    "Write x = x + y for x += y there."
                )
        if torch.is_grad_enabled():  # an evaluation's own reading says nothing of the student's
            self._warn_of_missing_gradient()
            capture.unread_gradient = capture.unread_training = None
        return capture.outputs[0]

    def _warn_of_missing_gradient(self) -> None:
        capture = self._capture
        floating = [rows for rows in tensors_in(capture.outputs) if rows.is_floating_point()]
        attached = any(rows.requires_grad for rows in floating)
        if not floating or (attached and capture.trained) or _learning(self._part) is None:
            return
        # Rows from before the last step of the optimizer are those of a training that is over.
        recent = (_UNKNOWN, capture.now)
        lost = (capture.unread_training if attached else capture.unread_gradient) in recent
        if lost:
            warnings.warn(
                f"Tap: layer {self.layer!r} last ran {'in eval mode' if attached else 'without'}"
                f"{'' if attached else ' gradients'}, and that replaced rows for training before "
                "they were read. Read tap.value before the model is evaluated.",
                stacklevel=3,
            )
        elif self._part.training and not (attached or capture.recorded):
            warnings.warn(
                f"Tap: the rows of layer {self.layer!r} carry no gradient, although the model is "
                "in training mode: the layer ran under torch.no_grad() or inference_mode(), or in "
                "a checkpoint with use_reentrant=True. Run a student with gradients, and with "
                "use_reentrant=False; call graphkd.freeze on a teacher.",
                stacklevel=3,
            )

    def close(self) -> None:
        """Remove the hook. Closing twice is harmless."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None
            hooks = self._module._forward_hooks.values()
            if not any(isinstance(hook, _Capture) for hook in hooks):
                forward = self._module.__dict__.pop("forward", self._module.forward)
                if forward != self._module.forward:  # the user's, not that of the class
                    self._module.__dict__["forward"] = forward

    def __del__(self) -> None:
        # The layer's own forward makes it hold itself, and with it the rows and their graph.
        if getattr(self, "_handle", None) is not None:
            self.close()

    def __enter__(self) -> "Tap":
        self._attach()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(layer={self.layer!r})"


def _is_compiled(module: nn.Module) -> bool:
    return hasattr(module, "_orig_mod") or module._compiled_call_impl is not None
