"""Freeze a teacher for good."""

import sys
import warnings
from functools import partial
from typing import TypeVar

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from graphkd._checks import describe

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def _stay_in_eval(module: ModuleT, frozen: int, mode: bool = True) -> ModuleT:
    caller = sys._getframe(1)
    by_outer = caller.f_code is nn.Module.train.__code__
    # A part without parameters, such as dropout, was frozen itself, or is a copy of what was. Then
    # the module around it says whether it learns.
    bare = next(module.parameters(), None) is None and id(module) != frozen
    whole = caller.f_locals["self"] if by_outer and bare else module
    if any(parameter.requires_grad for parameter in whole.parameters()):
        for part in module.modules():
            vars(part).pop("train", None)
        return module.train(mode)
    for part in module.modules():  # torch.compile's wrapper has set the flag of the module inside
        part.training = False
    if mode and not by_outer:
        warnings.warn(
            f"freeze: {type(module).__name__} stays in eval mode, because it is frozen, or is a "
            "copy of what was; got .train(). To train it, call .requires_grad_(True) before "
            ".train().",
            stacklevel=2,
        )
    return module


def freeze(teacher: ModuleT) -> ModuleT:
    """Put a teacher into eval mode for good, and switch its gradients off.

    ``.train()`` of an outer module, which holds the teacher and the student, does not switch the
    teacher's dropout or BatchNorm on again. Nor does it in a copy, or after pickling. To train the
    teacher, a copy of it, or layers of a copy, call ``.requires_grad_(True)`` and then
    ``.train()``. ``.train()`` on the teacher itself, without the former, has no effect and warns.

    What :func:`torch.jit.script` makes of a frozen teacher is a new module and is not frozen; call
    :func:`torch.jit.freeze` on it.

    Args:
        teacher: Any module; it is changed in place.

    Returns:
        The teacher.

    Raises:
        TypeError: If ``teacher`` is not a Module, or is a ScriptModule.
        ValueError: If it is lazy and has not run yet.

    Example:
        >>> from torch import nn
        >>> teacher = freeze(nn.Sequential(nn.Linear(4, 4), nn.Dropout()))
        >>> both = nn.ModuleDict({"teacher": teacher, "student": nn.Linear(4, 4)}).train()
        >>> both.training, teacher.training, any(p.requires_grad for p in teacher.parameters())
        (True, False, False)
    """
    if not isinstance(teacher, nn.Module):
        raise TypeError(f"freeze takes a torch.nn.Module; got {describe(teacher)}.")
    if isinstance(teacher, torch.jit.ScriptModule):
        raise TypeError(
            f"freeze cannot change a ScriptModule; got {describe(teacher)}. Call "
            "torch.jit.freeze(teacher.eval()), and run it under torch.no_grad()."
        )
    lazy = [name for name, parameter in teacher.named_parameters() if is_lazy(parameter)]
    if lazy:
        raise ValueError(
            f"freeze: the parameters of {type(teacher).__name__} must have values; got lazy ones "
            f"without, such as {lazy[0]!r}. Run it once first."
        )
    teacher.eval().requires_grad_(False)
    for module in teacher.modules():
        # A partial, unlike a closure, follows the module through deepcopy and pickle.
        module.train = partial(_stay_in_eval, module, id(module))  # type: ignore[method-assign]
    return teacher
