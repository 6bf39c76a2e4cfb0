"""Which keys a row of G-CRD is to resemble, and how much: soft targets, checked and selected."""

from typing import Any

from torch import Tensor

from graphkd._checks import check_devices, check_matrix, describe
from graphkd._precision import recorded
from graphkd.functional._rows import select_rows
from graphkd.ops.reference.soft_infonce import Targets


def soft_targets(
    loss: str,
    temperature: float | None,
    extra_keys: Tensor | None,
    extra_targets: Tensor | None,
) -> Targets | None:
    """The soft targets that the caller asks for, of the keys themselves, or None."""
    if extra_targets is not None and (temperature is None or extra_keys is None):
        lacking = "extra_keys" if extra_keys is None else "teacher_temperature"
        raise ValueError(
            f"{loss}: extra_targets are the soft targets of extra_keys; got "
            f"{describe(extra_targets)}, without {lacking}. Pass {lacking}, or leave them out."
        )
    return None if temperature is None else Targets(temperature, None, extra_targets)


def checked_targets(loss: str, extra_targets: Any, like: Tensor, extra_keys: Tensor) -> Tensor:
    """The teacher's rows of further keys, without a gradient, of its width; else it raises."""
    if extra_targets is None:
        raise ValueError(
            f"{loss}: soft targets compare the teacher's rows before the head, and extra_keys are "
            "rows after it; got no extra_targets. Pass the rows before the head as extra_targets=."
        )
    check_matrix(loss, "extra_targets", extra_targets, "teacher rows")
    check_devices(loss, embeddings=like, extra_targets=extra_targets)
    wanted = extra_keys.size(0), like.size(1)
    if extra_targets.shape != wanted:
        raise ValueError(
            f"{loss}: extra_targets must have one row per extra key, of the teacher's width, shape "
            f"{wanted}; got {describe(extra_targets)}. Pass the rows that the keys were made from."
        )
    targets: Tensor = recorded(extra_targets.detach().to(like.dtype))
    return targets


def with_further(
    loss: str,
    targets: Targets,
    q: Tensor,
    more: Tensor,
    sample: Tensor | None = None,
) -> Targets:
    """The targets of the sampled rows, and one for each further key."""
    rows, others = targets.rows, targets.more
    if rows is not None:
        rows = select_rows(loss, rows, sample)
    like = q if rows is None else rows
    if others is not None or (rows is not None and more.size(0)):
        others = checked_targets(loss, others, like, more)
    elif rows is not None:
        others = rows[:0]
    return Targets(targets.temperature, rows, others)
