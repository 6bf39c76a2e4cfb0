"""The hot primitives, and which backends each has.

Three primitives carry the losses whose obvious form is quadratic in memory, or holds all edges
at once:

- ``infonce``: the row values of G-CRD,
- ``pairwise_gap``: the row values of Global LSP,
- ``edge_similarity``: a kernel's value on every edge, for LSP.

``reference`` is the obvious form. ``chunked`` has the same arguments and linear memory.
"""

import functools
import logging

import torch

from graphkd._checks import check_choice

BACKENDS = ("auto", "reference", "chunked", "triton", "scatter")

_logger = logging.getLogger("graphkd")


def check_backend(loss: str, backend: str, available: tuple[str, ...]) -> None:
    """Raise unless ``backend`` is ``"auto"`` or one that this loss has."""
    check_choice(f"{loss}: backend", backend, BACKENDS)
    if backend not in ("auto", *available):
        raise ValueError(
            f"{loss} has no backend {backend!r} in this version; choose from 'auto', "
            f"{', '.join(map(repr, available))}."
        )


def pick_backend(loss: str, backend: str, device: torch.device, *, reference: bool = False) -> str:
    """The backend to run. ``"auto"`` means chunked, or the reference where only it can serve.

    The choice that ``"auto"`` made is logged once per loss and device type.
    """
    if backend != "auto":
        return backend
    choice = "reference" if reference else "chunked"
    if not torch.compiler.is_compiling():
        _log_choice(loss, choice, device.type)
    return choice


@functools.cache
def _log_choice(loss: str, choice: str, device: str) -> None:
    _logger.info("%s: backend 'auto' runs %r on %s", loss, choice, device)
