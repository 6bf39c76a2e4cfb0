"""Which backend runs: the names of all, the checks of the user's choice, and the ``"auto"`` choice.

No other module chooses.
"""

import functools
import logging
import os
from collections.abc import Callable
from importlib.util import find_spec
from types import ModuleType
from typing import TypeAlias

import torch
from torch import Tensor

from graphkd._checks import check_choice
from graphkd._precision import followed, has_rows, traced

BACKENDS = ("auto", "reference", "chunked", "triton", "scatter")
DENSE = ("reference", "chunked")
RELATIVE = (*DENSE, "triton")
PRECISIONS = ("float32", "tf32", "bf16")

# The function that each backend would run.
Ways: TypeAlias = dict[str, Callable[[], Tensor]]

_logger = logging.getLogger("graphkd")


def check_backend(loss: str, backend: str, available: tuple[str, ...]) -> None:
    """Raise unless ``backend`` is ``"auto"`` or one that this loss has."""
    check_choice(f"{loss}: backend", backend, BACKENDS)
    if backend not in ("auto", *available):
        raise ValueError(
            f"{loss} has no backend {backend!r}; choose from 'auto', "
            f"{', '.join(map(repr, available))}."
        )


def check_precision(loss: str, precision: str, backend: str) -> None:
    """Raise if the backend lacks this precision."""
    if precision != "float32" and backend != "triton":
        raise ValueError(
            f"{loss}: precision={precision!r} belongs to backend='triton'; got backend={backend!r}."
            " Pass backend='triton', or leave precision at 'float32'."
        )


def pick_backend(
    loss: str,
    backend: str,
    like: Tensor,
    available: tuple[str, ...],
    *,
    chunk_size: int | None = None,
) -> str:
    """The backend to run on tensors such as ``like``; one asked for by name runs or raises.

    ``"auto"`` takes chunked, on GPUs too, or the reference if the loss has no chunked form. Nobody
    has measured Triton's programs on a GPU yet; ``benchmarks/gpu.py`` does, and says what this
    choice should be. The choice is logged once per loss and device type.
    """
    if backend == "triton":
        _require_triton(loss, like, chunk_size)
    if backend != "auto":
        return backend
    choice = "chunked" if "chunked" in available else "reference"
    if not torch.compiler.is_compiling():
        _log_choice(loss, choice, like.device.type)
    return choice


def run(
    loss: str,
    backend: str,
    chunk_size: int | None,
    like: Tensor,
    ways: Ways,
    precision: str = "float32",
) -> Tensor:
    """Run one of ``ways``: the way of the backend asked for, or of the choice of ``"auto"``."""
    choice = pick_backend(loss, backend, like, tuple(ways), chunk_size=chunk_size)
    check_precision(loss, precision, choice)
    return ways[choice]()


def run_rows(
    loss: str,
    backend: str,
    chunk_size: int | None,
    x: Tensor,
    y: Tensor,
    ways: Ways,
    precision: str = "float32",
) -> Tensor:
    """Run one of ``ways``, each of which gives one value per row of ``x`` and ``y``.

    Without rows, none of them runs: the result is empty, but autograd connects it to both sides.
    """

    def nothing() -> Tensor:
        return x.sum(dim=1) + y.sum(dim=1)

    if not has_rows(x):
        ways = dict.fromkeys(ways, nothing)
    return run(loss, backend, chunk_size, x, ways, precision)


def mean_of(rows: Tensor) -> Tensor:
    """The mean of row values; 0, attached, if there are none."""
    if not traced() and rows.size(0):
        return rows.mean()  # one step for autograd, not two
    return rows.sum() / max(rows.size(0), 1)


def programs_for_gpus() -> ModuleType:
    """The programs for GPUs, imported when they are first used."""
    from graphkd.ops import triton

    return triton


def by_hand_serves(like: Tensor) -> bool:
    """Whether a way by hand runs, instead of the plain form, where a loss has no ``backend``.

    It works in blocks of a core's cache, and reads values. A compiler fuses the plain form itself,
    torch.func differentiates it, and a GPU should not wait for values.
    """
    return like.device.type == "cpu" and not followed()


@functools.cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


def _require_triton(loss: str, like: Tensor, chunk_size: int | None) -> None:
    if chunk_size is not None:
        raise ValueError(
            f"{loss}: chunk_size belongs to backend='chunked'; got backend='triton'. Leave it out."
        )
    if not _has_triton():
        raise ImportError(
            f"{loss}: backend='triton' needs triton, which is not installed. Run `pip install "
            "triton`, or use backend='auto'."
        )
    if like.device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError(
            f"{loss}: backend='triton' needs tensors on a GPU; got {like.device}. Move them there, "
            "or use backend='auto'."
        )


@functools.cache
def _log_choice(loss: str, choice: str, device: str) -> None:
    _logger.info("%s: backend 'auto' runs %r on %s", loss, choice, device)
