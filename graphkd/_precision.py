"""The precision that every loss computes in: float32 or wider, with autocast off."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Switch autocast off, so that arithmetic is done in the dtype of its inputs."""
    if torch.amp.is_autocast_available(device.type):
        with torch.autocast(device_type=device.type, enabled=False):
            yield
    else:
        yield


def traced() -> bool:
    """Whether something follows the operations instead of running them: no value may be read."""
    return torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0


def has_rows(h: Tensor) -> bool:
    """Whether there is a row; while something is traced, there may be."""
    return traced() or h.size(0) > 0


def differentiated(function: type[torch.autograd.Function], *args: Any) -> Any:
    """Apply a Function, or its forward alone where none of its tensors needs a gradient.

    torch.compile cannot trace a Function there. Inside torch.func, it unwraps the tensors.
    """
    needed = any(isinstance(x, Tensor) and x.requires_grad for x in args)
    plain = torch.compiler.is_compiling() or not torch._C._are_functorch_transforms_active()
    if plain and not needed:
        return function.forward(*args)
    apply: Any = function.apply
    return apply(*args)


def quick(function: type[torch.autograd.Function]) -> type[torch.autograd.Function]:
    """Let torch look up the signature of a Function once, and not in each of its calls."""
    forward: Any = function.forward
    forward.__signature__ = inspect.signature(forward)
    return function


def upcast(h: Tensor) -> Tensor:
    """Half precision to float32; float32 and float64 stay."""
    return h if h.dtype in (torch.float32, torch.float64) else h.float()


def exact(h: Tensor) -> Tensor:
    """Float64, for sums whose rounding would show; unchanged on Apple's GPUs, which lack it."""
    return h if h.device.type == "mps" else h.double()


def student_and_teacher(h_s: Tensor, h_t: Tensor) -> tuple[Tensor, Tensor]:
    """Both in one dtype of at least float32, the teacher cut from its graph."""
    h_t = h_t.detach()
    if not torch.compiler.is_compiling() and h_t.is_inference():
        h_t = h_t.clone()  # outside of inference mode, autograd may not save what it made
    h_s, h_t = upcast(h_s), upcast(h_t)
    dtype = torch.promote_types(h_s.dtype, h_t.dtype)
    return h_s.to(dtype), h_t.to(dtype)
