"""The gradients of a loss at the student's embeddings, also through float16."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from graphkd._precision import upcast

# Powers of two, by which a loss is scaled while its gradient is measured through float16, which
# underflows below 6e-8: first, from try to try, and last. In other types nothing is scaled, since
# the user's hooks would see it.
_FIRST, _STEP, _LAST = 2.0**12, 2.0**16, 2.0**60


def through_float16(device: str, losses: Sequence[Tensor | None]) -> bool:
    """Whether gradients may pass through float16, where those of a mean over many rows vanish."""
    casting = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    if casting and torch.get_autocast_dtype(device) == torch.float16:
        return True
    return any(
        # What is inside of compiled code is not known.
        type(node).__name__.startswith("CompiledFunction")
        or any(getattr(part, "dtype", None) == torch.float16 for part in node._input_metadata)
        for node in _nodes(losses)
    )


def gradients_at(
    loss: Tensor, places: Sequence[Any], half: bool
) -> tuple[list[Tensor | None], float]:
    """The gradients at tensors or edges of autograd's graph, times a power of two, and that power.

    A gradient is None at a place that the loss does not depend on. The power is 1, except through
    ``half`` precision: there, it is one that half precision can hold.
    """
    scale = _FIRST if half else 1.0
    found = _scaled(loss, places, scale)
    if not half:
        return found, scale
    if not joint_norm(found).isfinite():
        return _scaled(loss, places, scale / _STEP), scale / _STEP
    while scale < _LAST and _largest(found) < 1 / 256:
        finer = _scaled(loss, places, scale * _STEP)
        if not joint_norm(finer).isfinite():
            break
        found, scale = finer, scale * _STEP
    return found, scale


def joint_norm(gradients: Sequence[Tensor | None]) -> Tensor:
    """The norm of all gradients together; None counts as 0."""
    norms = [torch.linalg.vector_norm(gradient) for gradient in gradients if gradient is not None]
    if not norms:
        return torch.zeros((), device="cpu")
    norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return norm


def node_beside(loss: Tensor, layers: list[Tensor]) -> str | None:
    """The name of the autograd node that made a layer and, as another output, leads to the loss."""
    nodes = {h.grad_fn for h in layers}
    return next((type(node).__name__ for node in _nodes([loss]) if node in nodes), None)


def _nodes(losses: Sequence[Tensor | None]) -> Iterator[Any]:
    """The nodes of autograd's graph that lead to the losses, each once."""
    seen, waiting = set(), [loss.grad_fn for loss in losses if loss is not None]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting += [before for before, _ in node.next_functions]


def _scaled(loss: Tensor, places: Sequence[Any], scale: float) -> list[Tensor | None]:
    if not loss.requires_grad:
        return [None for _ in places]
    wide = upcast(loss)
    by = wide.new_full((), scale)
    found = torch.autograd.grad(wide, places, by, retain_graph=True, allow_unused=True)
    return [None if gradient is None else upcast(gradient) for gradient in found]


def _largest(gradients: Sequence[Tensor | None]) -> float:
    held = (gradient for gradient in gradients if gradient is not None and gradient.numel())
    return max((float(gradient.abs().max()) for gradient in held), default=0.0)
