"""The hot primitives, and which backends each has.

A primitive carries a loss whose obvious form is quadratic in memory, or holds all edges at once.
Those of the paper's losses have every backend:

- ``infonce`` (and ``symmetric_infonce``): the row values of G-CRD,
- ``pairwise_gap``: the row values of Global LSP; ``moment_gap``: its short cut for inner products,
- ``edge_similarity``: a kernel's value on every edge, for LSP.

Those of the others are named in their files: ``reference_*.py``, and one in ``chunked`` each.

``reference`` is the obvious form. ``chunked`` has linear memory. ``triton`` has programs for GPUs.
All take rows as they are, and normalise them themselves where the formula says so.
"""

import functools
import logging
import os
from importlib.util import find_spec
from types import ModuleType

import torch
from torch import Tensor

from graphkd._checks import check_choice

BACKENDS = ("auto", "reference", "chunked", "triton", "scatter")
PRECISIONS = ("float32", "tf32", "bf16")

_logger = logging.getLogger("graphkd")


def check_backend(loss: str, backend: str, available: tuple[str, ...]) -> None:
    """Raise unless ``backend`` is ``"auto"`` or one that this loss has."""
    check_choice(f"{loss}: backend", backend, BACKENDS)
    if backend not in ("auto", *available):
        raise ValueError(
            f"{loss} has no backend {backend!r}; choose from 'auto', "
            f"{', '.join(map(repr, available))}."
        )


def pick_backend(
    loss: str,
    backend: str,
    like: Tensor,
    *,
    reference: bool = False,
    chunk_size: int | None = None,
    programs: bool = True,
) -> str:
    """The backend to run on tensors such as ``like``; one asked for by name is used or raises.

    ``"auto"`` means triton for float32 on a GPU, and chunked elsewhere or where there is no triton
    or no ``programs`` for the loss, or blocks are asked for; the reference where only that can
    serve. The choice is logged once per loss and device type.
    """
    if backend == "triton":
        _require_triton(loss, like, chunk_size)
    if backend != "auto":
        return backend
    if reference:
        choice = "reference"
    elif programs and _triton_serves(like) and chunk_size is None:
        choice = "triton"
    else:
        choice = "chunked"
    if not torch.compiler.is_compiling():
        _log_choice(loss, choice, like.device.type)
    return choice


def check_precision(loss: str, precision: str, backend: str) -> None:
    """Raise unless the backend, if it is known already, has this precision."""
    if precision != "float32" and backend not in ("auto", "triton"):
        raise ValueError(
            f"{loss}: precision={precision!r} belongs to backend='triton'; this call runs "
            f"{backend!r}. Leave it at 'float32'."
        )


def triton_programs() -> ModuleType:
    """The programs for GPUs, imported when they are first used."""
    from graphkd.ops import triton

    return triton


@functools.cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


def _triton_serves(like: Tensor) -> bool:
    # Its float64 is for tests; a GPU's own products are as fast.
    return like.device.type == "cuda" and like.dtype == torch.float32 and _has_triton()


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
