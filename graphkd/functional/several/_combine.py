"""Sums of one loss over several pairs of inputs: calls, weights and errors."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor

from graphkd._checks import describe
from graphkd._precision import recorded, traced, upcast
from graphkd.functional._options import check_weights
from graphkd.functional._rows import divisor, reduce_rows, resolve_index, select_rows, weigh

_Result = TypeVar("_Result")
Weights: TypeAlias = Sequence[float] | Tensor | None
PairLoss: TypeAlias = Callable[..., Tensor]


def located(
    loss: str, what: str, key: Any, call: Callable[..., _Result], /, *args: Any, **options: Any
) -> _Result:
    """Call, and let errors name the loss and the part of it where they arose."""
    if torch.compiler.is_compiling():
        return call(*args, **options)
    try:
        return call(*args, **options)
    except (IndexError, TypeError, ValueError) as error:
        kind = next(k for k in (IndexError, TypeError, ValueError) if isinstance(error, k))
        raise kind(f"{loss}, {what} {key!r}: {error}") from error


def check_factors(loss: str, weights: Any, count: int, what: str) -> None:
    """Raise unless the weights are finite and not negative, one for each of ``what``."""
    if weights is None:
        return
    if isinstance(weights, Tensor):
        if not weights.is_floating_point() or weights.dim() not in (1, 2):
            raise ValueError(
                f"{loss}: weights as a tensor are floating-point, one per {what} or a matrix with "
                f"one row per node; got {describe(weights)}."
            )
    elif isinstance(weights, str) or not isinstance(weights, Sequence):
        raise ValueError(
            f"{loss}: weights must be None, or one number per {what}; got {describe(weights)}."
        )
    found = weights.size(-1) if isinstance(weights, Tensor) else len(weights)
    if found != count:
        raise ValueError(
            f"{loss}: weights must be one number per {what}; got {found} for {count}. Leave them "
            "out to take the mean."
        )
    if not isinstance(weights, Tensor):
        check_weights(loss, **{f"weights[{i}]": weight for i, weight in enumerate(weights)})


def loss_of_each(loss: str, inner: Any, count: int, what: str) -> list[PairLoss]:
    """One callable for each of ``what``: the given ones, or one for all."""
    if callable(inner):
        return [inner] * count
    if isinstance(inner, Sequence) and all(callable(one) for one in inner):
        if len(inner) == count:
            return list(inner)
        raise ValueError(f"{loss}: needs one loss per {what}; got {len(inner)} for {count}.")
    raise TypeError(
        f"{loss}: loss must be a callable loss(h_s, h_t), or one per {what}; got {describe(inner)}."
    )


def with_rows(
    loss: str, weight: Any, index: Any, like: Any, arguments: dict[str, Any]
) -> dict[str, Any]:
    """The arguments of every inner loss; a mask is turned into row numbers once."""
    if weight is not None:
        arguments = {**arguments, "weight": weight}
    if index is None:
        return arguments
    rows = _rows(like)
    if rows is not None:
        index = resolve_index(loss, index, rows)
    return {**arguments, "index": index}


def compared(like: Any, arguments: dict[str, Any]) -> Tensor | None:
    """What has an entry for each row that an inner loss compares, if these are rows of nodes."""
    if "batch" in arguments:
        return None
    chosen = arguments.get("index", _rows(like))
    return chosen if isinstance(chosen, Tensor) and chosen.dtype != torch.bool else None


def _rows(like: Any) -> Tensor | None:
    """A matrix, or that of the targets if it is a pair of sources and targets."""
    if isinstance(like, tuple) and len(like) == 2:
        like = like[1]
    return like if isinstance(like, Tensor) and like.dim() > 0 else None


def combine(
    loss: str,
    values: list[Tensor],
    weights: Weights,
    reduction: str,
    weight: Tensor | None,
    index: Tensor | None,
    of_rows: Tensor | None = None,
    penalty: Tensor | None = None,
) -> Tensor:
    """The reduced weighted sum of values: all scalars, or all with one entry per row.

    The inner losses have multiplied their rows by ``weight``, or taken a mean by it.

    Args:
        loss: The loss that errors name.
        values: The loss of each pair.
        weights: None for their mean; one weight per value; or a matrix of them, one row for each
            selected row.
        reduction: Of row values. A scalar stays as it is.
        weight: The weights of the rows, before the selection.
        index: The selection.
        of_rows: What has an entry for each row that is compared; None if that is not known.
        penalty: What is added before the reduction: a scalar, or one entry per row.
    """
    _check_values(loss, values, reduction)
    if weight is not None:
        weight = select_rows(loss, recorded(upcast(weight)), resolve_index(loss, index, weight))
    if weights is None:
        weights = [1 / len(values)] * len(values)
    by_value: Sequence[Any] = (
        recorded(weights).unbind(-1) if isinstance(weights, Tensor) else weights
    )
    if isinstance(weights, Tensor) and weights.dim() == 2:
        rows = values[0] if values[0].dim() else weight
        rows = of_rows if rows is None and not traced() else rows
        if rows is not None and weights.size(0) != rows.size(0):
            selected = " Those of the selected nodes are weights[index]." * (index is not None)
            raise ValueError(
                f"{loss}: weights by node need one row for each node that the inner loss compares; "
                f"got {weights.size(0)} rows of weights for {rows.size(0)} nodes.{selected}"
            )
        if values[0].dim() == 0:
            by_value = [reduce_rows(column, "mean", weight) for column in by_value]
    total: Tensor = by_value[0] * values[0]
    for factor, value in zip(by_value[1:], values[1:], strict=True):
        total = total + factor * value
    if penalty is not None:
        if total.dim() == 1:
            penalty = weigh(penalty.expand_as(total), weight)
        elif weight is not None or penalty.dim() == 1:
            # If all weights are 0, so is the mean, as those of the inner losses are.
            penalty = penalty if weight is None else penalty.expand_as(weight)
            penalty = reduce_rows(penalty, "mean", weight)
        total = total + penalty
    if total.dim() == 0:
        return total
    if reduction == "mean" and weight is not None:
        return total.sum() / divisor(weight, None).to(total.dtype)
    return reduce_rows(total, reduction)


def _check_values(loss: str, values: list[Tensor], reduction: str) -> None:
    for value in values:
        if not isinstance(value, Tensor) or value.dim() > 1 or value.shape != values[0].shape:
            raise ValueError(
                f"{loss}: the inner losses must all return a scalar, or all one value per row; got "
                f"{', '.join(describe(value) for value in values)}."
            )
    if values[0].dim() == 0 and reduction != "mean":
        raise ValueError(
            f"{loss}: reduction={reduction!r} needs row values, and the inner loss returned a "
            "scalar. Build the inner loss with reduction='none'."
        )
