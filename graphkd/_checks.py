"""Checks of user input. Each error says what is wrong, what was received and what to do."""

import functools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from numbers import Integral, Real
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from graphkd._precision import traced
from graphkd._slips import (
    for_dimensions,
    for_ids,
    for_numbers,
    for_rows,
    for_temperature,
    for_weight,
)

REDUCTIONS = ("mean", "sum", "none")


def describe(value: Any) -> str:
    """Describe ``value`` for an error message."""
    if isinstance(value, Tensor) and value.is_nested:
        return f"nested tensor of {value.size(0)} parts"
    if isinstance(value, Tensor):
        kinds = [str(kind).removeprefix("torch.") for kind in (value.layout, value.dtype)]
        kind = " ".join(kinds).removeprefix("strided ")
        return f"{kind} tensor of shape {tuple(value.shape)}"
    if value is None or isinstance(value, (bool, int, float, str)):
        return f"{value!r} ({type(value).__name__})"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, FunctionType):
        return f"the function {value.__name__}"
    shape = getattr(value, "shape", None)
    return type(value).__name__ + (f" of shape {tuple(shape)}" if shape else "")


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in nested lists, tuples and dictionaries, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple, Mapping)):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from tensors_in(part)


def check_choice(what: str, value: Any, choices: Iterable[str]) -> None:
    """Raise a ValueError unless ``value`` is one of ``choices``."""
    choices = tuple(choices)
    if not isinstance(value, str) or value not in choices:
        raise ValueError(
            f"{what} must be one of {', '.join(map(repr, choices))}; got "
            f"{describe(value) if hasattr(value, 'shape') else repr(value)}."
        )


def check_positive(what: str, value: Any) -> None:
    """Raise unless ``value`` is a finite number above zero."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(
            f"{what} must be a number; got {describe(value)}. {_for_option(value, 'float')}"
        )
    if not 0 < float(value) < math.inf:
        raise ValueError(f"{what} must be positive and finite; got {value!r}.")


def check_temperature(what: str, value: Any, *, of_rows: bool = False) -> None:
    """Raise unless ``value`` is a positive number or 0-d tensor, or one for each row if allowed.

    The numbers of a tensor are read on a CPU only: elsewhere a step would wait for them.
    """
    # A matrix is no temperature of any shape, but most likely a model's output.
    if not isinstance(value, Tensor) or (value.dim() > 1 and 1 not in value.shape):
        check_positive(what, value)
        return
    if not is_dense(value) or not value.is_floating_point():
        call = ".float()" if is_dense(value) else ".to_dense()"
        raise TypeError(
            f"{what} must be a number or a dense floating-point tensor; got {describe(value)}. "
            f"Call {call} on it."
        )
    if value.dim() > of_rows:
        raise ValueError(
            f"{what} must be a number, or a tensor of shape (){' or (N,)' if of_rows else ''}; got "
            f"{describe(value)}. {for_temperature(value, of_rows)}"
        )
    if traced() or value.device.type != "cpu" or value.numel() == 0:
        return
    low, high = map(float, value.detach().aminmax())
    if not 0 < low <= high < math.inf:
        numbers = f"numbers from {low:g} to {high:g}" if value.dim() else f"{low:g}"
        raise ValueError(f"{what} must be positive and finite; got {numbers}.")


def is_dense(value: Any) -> bool:
    """Whether a value is a tensor that is not sparse."""
    return isinstance(value, Tensor) and value.layout == torch.strided


def check_flag(what: str, value: Any) -> None:
    """Raise a ValueError unless ``value`` is True or False: 'no' and 0.1 are neither."""
    if not isinstance(value, bool):
        raise ValueError(f"{what} must be True or False; got {describe(value)}.")


def check_count(what: str, value: Any, least: int) -> None:
    """Raise unless ``value`` is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(
            f"{what} must be an integer; got {describe(value)}. {_for_option(value, 'int')}"
        )
    if int(value) < least:
        raise ValueError(f"{what} must be at least {least}; got {value!r}.")


def _for_option(value: Any, kind: str) -> str:
    """What to do about an option that is no number: it may belong into the call of the loss."""
    called = isinstance(value, Tensor) and value.dim() > 0
    more = (
        "; embeddings and logits belong into the call of the loss that is built" if called else ""
    )
    return f"Pass a plain {kind}{more}."


@functools.cache
def memory_of(device: torch.device) -> float:
    """The bytes of a device's memory; infinity where nothing tells.

    What is sized by ids is checked against it: ids that are hashes would end in the allocator, or
    in the death of the process, with an error that names no id.
    """
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    if device.type != "cpu" or not hasattr(os, "sysconf"):
        return math.inf
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def check_matrix(loss: str, name: str, h: Any, what: str = "embeddings") -> None:
    """Raise unless ``h`` is a dense, real, floating-point ``[N, d]`` tensor, with d above 0."""
    if not isinstance(h, Tensor):
        remedy = for_rows(h, len(list(tensors_in(h))), what)
        raise TypeError(
            f"{loss}: {name} must be a tensor of {what} [N, d]; got {describe(h)}. {remedy}"
        )
    if h.is_nested:
        raise TypeError(
            f"{loss}: {name} must be a dense tensor; got {describe(h)}. Join them: "
            f"torch.cat({name}.unbind())."
        )
    if h.layout != torch.strided:
        raise TypeError(
            f"{loss}: {name} must be a dense tensor; got layout {h.layout}. Call .to_dense()."
        )
    if not h.is_floating_point():
        raise TypeError(
            f"{loss}: {name} must hold real floating-point {what}; got {describe(h)}. "
            f"{for_numbers(name, h, what)}"
        )
    if h.dim() != 2:
        raise ValueError(
            f"{loss}: {name} must be two-dimensional [N, d]; got {describe(h)}. "
            f"{for_dimensions(what)}"
        )
    if h.size(1) == 0:
        raise ValueError(f"{loss}: {name} must have at least one column; got {describe(h)}.")


def check_pair(
    loss: str,
    h_s: Any,
    h_t: Any,
    *,
    names: tuple[str, str] = ("h_s", "h_t"),
    what: str = "embeddings",
    projecting: str | None = None,
) -> None:
    """Raise unless student and teacher are matrices whose rows match.

    With ``projecting``, the widths must match too. It is the last sentence of that error: what the
    user can do.
    """
    check_matrix(loss, names[0], h_s, what)
    check_matrix(loss, names[1], h_t, what)
    check_devices(loss, **{names[0]: h_s, names[1]: h_t})
    if h_s.size(0) != h_t.size(0):
        raise ValueError(
            f"{loss}: {names[0]} and {names[1]} must have one row per node each, in the same "
            f"order; got shapes {tuple(h_s.shape)} and {tuple(h_t.shape)}. "
            "Align the rows, e.g. by batch.n_id, or pass all rows of both and choose by index=."
        )
    if projecting is not None and h_s.size(1) != h_t.size(1):
        raise ValueError(
            f"{loss}: {names[0]} and {names[1]} must have the same width; got shapes "
            f"{tuple(h_s.shape)} and {tuple(h_t.shape)}. {projecting}"
        )


def check_devices(loss: str, **tensors: Tensor) -> None:
    """Raise a ValueError that names both devices, unless all tensors are on one device."""
    (first, reference), *others = tensors.items()
    for name, tensor in others:
        if tensor.device != reference.device:
            raise ValueError(
                f"{loss}: {first} and {name} must be on the same device; got "
                f"{reference.device} and {tensor.device}. Move one with .to(...)."
            )


def check_entries(
    loss: str,
    name: str,
    value: Any,
    like: Tensor,
    good: bool,
    kind: str,
    remedy: Callable[[], str],
    what: str = "row",
) -> None:
    """Raise unless ``value`` is a tensor of a kind with one entry for each row of ``like``.

    Args:
        loss: The loss that errors name.
        name: The argument.
        value: The user's value.
        like: What has the rows, or edges.
        good: Whether the value is a tensor of the kind.
        kind: The kind, for the error.
        remedy: What to do; asked only if a check fails.
        what: What an entry belongs to.
    """
    if not good:
        raise TypeError(
            f"{loss}: {name} must be {kind}, one entry per {what}; got {describe(value)}. "
            f"{remedy()}"
        )
    if value.shape != like.shape[:1]:
        raise ValueError(
            f"{loss}: {name} must have one entry per {what}, shape ({like.size(0)},); got "
            f"{describe(value)}. {remedy()}"
        )
    check_devices(loss, **{f"the {what}s": like, name: value})


def check_weight(loss: str, name: str, weight: Any, like: Tensor, what: str) -> None:
    """Raise unless ``weight`` has one number for each entry of ``like``, finite and not negative.

    The numbers are read on a CPU only: elsewhere a step would wait for them.
    """
    n = like.size(0)
    good = is_dense(weight) and weight.is_floating_point()
    kind = "a dense floating-point tensor"
    columns = like.size(1) if like.dim() == 2 else None
    check_entries(
        loss, name, weight, like, good, kind, lambda: for_weight(weight, n, what, columns), what
    )
    if traced() or weight.device.type != "cpu" or n == 0:
        return
    low, high = map(float, weight.detach().aminmax())
    if not 0 <= low <= high < math.inf:
        raise ValueError(
            f"{loss}: {name} must be finite and not negative; got numbers from {low:g} to {high:g}."
            " Use 0 to leave one out."
        )


def check_row_ids(
    loss: str, name: str, ids: Any, like: Tensor, of: str, remedy: str, several: str = ""
) -> None:
    """Raise unless ``ids`` are integers, one for each row of ``like``."""
    good = is_dense(ids) and ids.dtype in (torch.int32, torch.int64)
    n, kind = like.size(0), f"an int64 tensor [N] of {of}"
    check_entries(loss, name, ids, like, good, kind, lambda: for_ids(ids, n, remedy, several))


def check_node_ids(loss: str, name: str, ids: Any, like: Tensor, dim: int, remedy: str) -> None:
    """Raise unless ``ids`` is an integer tensor of ``dim`` dimensions that names rows of ``like``.

    On a GPU, the operations that use the ids check their values, so that no step waits for the GPU.
    """
    shape = "[M]" if dim == 1 else "[M, k]"
    if not isinstance(ids, Tensor) or ids.dtype not in (torch.int32, torch.int64):
        raise TypeError(
            f"{loss}: {name} must be an int64 tensor {shape} of node ids; got {describe(ids)}. "
            f"{remedy}"
        )
    if ids.dim() != dim:
        raise ValueError(f"{loss}: {name} must have shape {shape}; got {describe(ids)}. {remedy}")
    check_devices(loss, embeddings=like, **{name: ids})
    if traced() or ids.numel() == 0 or ids.device.type != "cpu":
        return
    low, high = (int(extreme) for extreme in ids.aminmax())
    if low < 0 or high >= like.size(0):
        raise IndexError(
            f"{loss}: {name} names node {low if low < 0 else high}, but there are {like.size(0)} "
            f"rows, numbered from 0. Ids must lie in [0, {like.size(0)})."
        )
    # As many ids as rows, all of them 0 or 1, and both there.
    if dim == 1 and ids.size(0) == like.size(0) > 2 and (low, high) == (0, 1):
        raise ValueError(
            f"{loss}: {name} must be node ids; got {describe(ids)} that are all 0 or 1, for "
            f"{like.size(0)} rows: a mask as integers. Convert it by .nonzero().view(-1)."
        )


def check_widths(loss: str, h_s: Tensor, h_t: Tensor, dim_s: int, dim_t: int) -> None:
    """Raise unless both sides have the widths that the Module was built for."""
    if dim_s != dim_t and (h_s.size(1), h_t.size(1)) == (dim_t, dim_s):
        raise ValueError(
            f"{loss}: student and teacher are swapped: the loss was built with dim_s={dim_s} and "
            f"dim_t={dim_t}; got h_s of width {dim_t} and h_t of width {dim_s}. The student comes "
            "first, in the call as in the constructor."
        )
    check_width(loss, "h_s", h_s, "dim_s", dim_s)
    check_width(loss, "h_t", h_t, "dim_t", dim_t)


def check_width(loss: str, name: str, h: Tensor, dim_name: str, dim: int) -> None:
    """Raise unless ``h`` has the width that the Module was built for."""
    if h.size(1) != dim:
        raise ValueError(
            f"{loss}: {name} has width {h.size(1)}, but the loss was built with "
            f"{dim_name}={dim}. Build it with {dim_name}={h.size(1)}."
        )
