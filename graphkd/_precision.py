"""The precision that every loss computes in: float32 or wider, with autocast off."""

import inspect
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

_NOTHING = nullcontext()


def full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Switch autocast off, so that arithmetic runs in the dtype of its inputs.

    torch 2.6 compiles neither a generator's context nor the questions that are asked here.
    A switch takes as long as several operations on a few hundred rows, so that it is left out if
    autocast is off.
    """
    kind = device.type
    if torch.compiler.is_compiling():
        return torch.autocast(device_type=kind, enabled=False)
    available = kind == "cpu" or torch.amp.is_autocast_available(kind)
    if available and torch.is_autocast_enabled(kind):
        return torch.autocast(device_type=kind, enabled=False)
    return _NOTHING


def traced() -> bool:
    """Whether torch traces or vmaps the operations, so that no value is to be read."""
    return _symbolic() or _vmapped()


def _symbolic() -> bool:
    """Whether sizes may be symbols, too."""
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0:
        return True
    return torch._C._get_tracing_state() is not None


def _vmapped() -> bool:
    """Whether ``torch.func.vmap`` runs, which tells it by its stack of transforms alone."""
    if not torch._C._are_functorch_transforms_active():
        return False
    functorch: Any = torch._C._functorch
    vmap = functorch.TransformType.Vmap
    return any(level.key() == vmap for level in functorch.get_interpreter_stack())


def followed() -> bool:
    """Whether torch follows the operations: to compile or trace them, in torch.func, or forward."""
    return (
        traced()
        or torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
    )


def in_backward() -> bool:
    """Whether a backward pass is running, in which a checkpoint repeats what it left out."""
    return torch._C._current_graph_task_id() != -1


def refuse_batches() -> None:
    """Raise in vmap, of values or of their gradients: what runs in blocks takes one at a time."""
    if not torch.compiler.is_compiling() and _vmapped():
        raise NotImplementedError(
            "graphkd: a loss that runs in blocks takes no batches of torch.func (vmap, jacrev). "
            "Pass backend='reference', or go through the batch in a loop."
        )


def refuse_tangents(*args: Any) -> None:
    """Raise in forward mode: what runs in blocks has gradients, and no tangents."""
    forward_ad: Any = torch.autograd.forward_ad
    if torch.compiler.is_compiling() or forward_ad._current_level < 0:
        return
    if any(isinstance(x, Tensor) and forward_ad.unpack_dual(x).tangent is not None for x in args):
        raise NotImplementedError(
            "graphkd: a loss that runs in blocks has no forward-mode derivative (torch.func.jvp, "
            "jacfwd, dual tensors); got a tangent. Pass backend='reference', or take (gradient * "
            "direction).sum()."
        )


def has_rows(h: Tensor) -> bool:
    """Whether there is a row; True while traced, because there may be one."""
    return _symbolic() or h.size(0) > 0


def differentiated(
    function: type[torch.autograd.Function], *args: Any, lawful: bool = False
) -> Any:
    """Apply a Function; run only its forward if none of its tensors needs a gradient.

    torch.compile cannot trace a Function in that case. Inside torch.func, ``apply`` is needed: it
    unwraps the tensors. If the Function is ``lawful``, its forward is made of operations that torch
    differentiates, and these run in vmap and in forward mode, for which a Function has no rule.
    """
    needed = any(isinstance(x, Tensor) and x.requires_grad for x in args)
    compiling = torch.compiler.is_compiling()
    forward_ad: Any = torch.autograd.forward_ad
    if lawful and not compiling and (forward_ad._current_level >= 0 or _vmapped()):
        return function.forward(*args)
    plain = compiling or not torch._C._are_functorch_transforms_active()
    if plain and not needed:
        return function.forward(*args)
    # What ``apply`` does first, for defaults and for torch.func, takes as long as some operations.
    at_once = plain and not compiling
    owner: Any = super(torch.autograd.Function, function) if at_once else function
    return owner.apply(*args)


def quick(function: type[torch.autograd.Function]) -> type[torch.autograd.Function]:
    """Let torch look up the signature of a Function once, not in each call."""
    forward: Any = function.forward
    forward.__signature__ = inspect.signature(forward)
    return function


def upcast(h: Tensor) -> Tensor:
    """Convert half precision to float32; float32 and float64 stay."""
    return h if h.dtype in (torch.float32, torch.float64) else h.float()


def exact(h: Tensor) -> Tensor:
    """Convert to float64, for sums whose rounding would show; not on Apple's GPUs: they lack it."""
    return h if h.device.type == "mps" else h.double()


def recorded(x: Tensor) -> Tensor:
    """The tensor, or a copy if it comes from inference mode: autograd cannot save that."""
    return x.clone() if not torch.compiler.is_compiling() and x.is_inference() else x


def student_and_teacher(h_s: Tensor, h_t: Tensor) -> tuple[Tensor, Tensor]:
    """Both sides in one dtype of at least float32; the teacher is detached."""
    h_t = recorded(h_t.detach())
    h_s, h_t = upcast(h_s), upcast(h_t)
    if h_s.dtype == h_t.dtype:
        return h_s, h_t
    dtype = torch.promote_types(h_s.dtype, h_t.dtype)
    return h_s.to(dtype), h_t.to(dtype)


class WideBuffers(nn.Module):
    """A Module with buffers that stay as wide as they are under ``.half()`` and ``.bfloat16()``.

    They are averages, of norms or of a bank's rows: a small step of an average is less than half
    precision can tell. Saved ones that are narrower than float32 become float32.
    """

    _wide: ClassVar[tuple[str, ...]]

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        before = {name: getattr(self, name) for name in self._wide}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, old in before.items():
            new = getattr(self, name)
            if new.dtype in (torch.float16, torch.bfloat16):
                setattr(self, name, old.to(new.device))
        return self

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        for name in self._wide:  # with assign=True, they have the saved dtype
            setattr(self, name, upcast(getattr(self, name)))
