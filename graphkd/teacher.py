"""Tools for a teacher: freeze it for good, and tap its hidden states."""

import difflib
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from torch import nn
from torch.utils.hooks import RemovableHandle

from graphkd._checks import describe

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def _stay_in_eval(module: ModuleT, mode: bool = True) -> ModuleT:
    return module


def _back_to_eval(module: nn.Module, inputs: Any) -> None:
    module.training = False


def freeze(teacher: ModuleT) -> ModuleT:
    """Put a teacher into eval mode for good, and switch its gradients off.

    ``.train()`` of an outer module, which holds the teacher and the student, does not switch the
    teacher's dropout or BatchNorm on again. To train it, load its ``state_dict`` into a new module.

    Args:
        teacher: Any module; it is changed in place.

    Returns:
        The teacher.

    Raises:
        TypeError: If ``teacher`` is not a Module.

    Example:
        >>> from torch import nn
        >>> teacher = freeze(nn.Sequential(nn.Linear(4, 4), nn.Dropout()))
        >>> both = nn.ModuleDict({"teacher": teacher, "student": nn.Linear(4, 4)}).train()
        >>> both.training, teacher.training, any(p.requires_grad for p in teacher.parameters())
        (True, False, False)
    """
    if not isinstance(teacher, nn.Module):
        raise TypeError(f"freeze takes a torch.nn.Module; got {describe(teacher)}.")
    teacher.eval().requires_grad_(False)
    for module in teacher.modules():
        # A partial, unlike a closure, follows the module through deepcopy and pickle.
        module.train = partial(_stay_in_eval, module)  # type: ignore[method-assign]
    # torch.compile's wrapper sets the flag of the module inside without calling its train().
    teacher.register_forward_pre_hook(_back_to_eval)
    return teacher


class _Capture:
    """A forward hook that keeps the output. A copied or pickled model gets an empty one."""

    def __init__(self) -> None:
        self.outputs: list[Any] = []

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.outputs[:] = [output]

    def __reduce__(self) -> tuple[Any, ...]:
        return _Capture, ()


class Tap:
    """Captures the latest output of a layer, given its name, without changing the model.

    Use it as a context manager, or keep it and call :meth:`close`. The output keeps its autograd
    graph, and stays readable after the tap is closed. Only modules can be tapped. For example,
    PyG's ``MLP`` applies dropout as a function after its ``act``, so ``"act"`` gives the state
    before dropout.

    Args:
        model: The model that holds the layer.
        layer: The layer's name as in ``model.named_modules()``, e.g. ``"convs.1"``.

    Raises:
        ValueError: If the model has no layer of that name; the error lists its layers.
        TypeError: If ``model`` is not a Module, or is compiled: a hook added after compilation
            does not fire.
        RuntimeError: If :attr:`value` is read before the layer has run.

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
                f"{', '.join(repr(name) for name in modules if name)}."
            )
        self.layer = layer
        self._module = modules[layer]
        self._capture = _Capture()
        self._handle: RemovableHandle | None = None
        self._attach()

    def _attach(self) -> None:
        if self._handle is None:
            self._capture.outputs.clear()
            self._handle = self._module.register_forward_hook(self._capture)

    @property
    def value(self) -> Any:
        """The latest output of the layer."""
        if not self._capture.outputs:
            raise RuntimeError(
                f"Tap: layer {self.layer!r} has not run since the tap was made. Call the model "
                "first; a layer whose forward is bypassed cannot be tapped."
            )
        return self._capture.outputs[0]

    def close(self) -> None:
        """Remove the hook. Closing twice is harmless."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

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
