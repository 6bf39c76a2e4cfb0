"""What every loss does to its inputs and to its row values: the gate, and the reduction."""

import functools
import warnings

import torch
from torch import Tensor

from graphkd._checks import check_devices, check_pair, check_weight, describe, is_dense
from graphkd._precision import has_rows, recorded, student_and_teacher, traced, upcast
from graphkd._slips import for_index
from graphkd.ops.backends import mean_of


def matched_rows(
    loss: str,
    h_s: Tensor,
    h_t: Tensor,
    index: Tensor | None = None,
    *,
    names: tuple[str, str] = ("h_s", "h_t"),
    what: str = "embeddings",
    projecting: str | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The gate: the selected rows of both sides, checked, in one dtype, the teacher cut off.

    Args:
        loss: The loss that errors name.
        h_s: Student rows.
        h_t: Teacher rows.
        index: The user's boolean mask or row numbers.
        names: The names of the two sides in errors.
        what: What the sides hold.
        projecting: The loss that projects, if the widths must match.

    Returns:
        Student and teacher, and the numbers of the selected rows; None stands for all rows.
    """
    check_pair(loss, h_s, h_t, names=names, what=what, projecting=projecting)
    _warn_if_swapped(loss, h_s, h_t, names)
    s, t = student_and_teacher(h_s, h_t)
    chosen = resolve_index(loss, index, s)
    return select_rows(loss, s, chosen), select_rows(loss, t, chosen), chosen


def _warn_if_swapped(loss: str, h_s: Tensor, h_t: Tensor, names: tuple[str, str]) -> None:
    """Warn of a student without a gradient beside a teacher with one, which it does not get."""
    if h_t.requires_grad and not h_s.requires_grad and torch.is_grad_enabled() and not traced():
        warnings.warn(
            f"{loss}: {names[0]} requires no gradient, but {names[1]} does, and gets none: this "
            "loss cannot train the student. The student comes first, the teacher second.",
            stacklevel=3,
        )


def matched_logits(
    loss: str, z_s: Tensor, z_t: Tensor, index: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The gate for logits. Both sides must have the same classes."""
    classes = "Both must predict the same classes."
    names = ("z_s", "z_t")
    return matched_rows(loss, z_s, z_t, index, names=names, what="logits", projecting=classes)


def resolve_index(
    loss: str, index: Tensor | None, like: Tensor, what: str = "row"
) -> Tensor | None:
    """The selected row numbers of a mask or an integer index into the rows of ``like``.

    ``what`` is what a row stands for, in errors.
    """
    if index is None:
        return None
    if not is_dense(index):
        raise TypeError(
            f"{loss}: index must be a boolean mask or a dense integer tensor; got "
            f"{describe(index)}. "
            f"{for_index(index, like.size(0))}"
        )
    check_devices(loss, embeddings=like, index=index)
    if index.dtype == torch.bool:
        if index.shape != like.shape[:1]:
            raise IndexError(
                f"{loss}: a boolean index must have one entry per {what}, shape ({like.size(0)},); "
                f"got {describe(index)}. {for_index(index, like.size(0), what)}"
            )
        return index.nonzero().view(-1)
    if index.dtype not in (torch.int32, torch.int64):
        raise TypeError(
            f"{loss}: index must be a boolean mask or int64 row numbers; got {describe(index)}. "
            "Call .bool() on a mask, .long() on row numbers."
        )
    if index.dim() != 1:
        raise ValueError(
            f"{loss}: index must be one-dimensional; got {describe(index)}. "
            f"{for_index(index, like.size(0))}"
        )
    _refuse_mask_of_numbers(loss, index, like.size(0))
    return recorded(index.long())


def _refuse_mask_of_numbers(loss: str, index: Tensor, rows: int) -> None:
    """Raise for a mask that was cast to integers: it would select rows 0 and 1 only.

    As many numbers as rows name a row twice if all are 0 or 1, except of two rows. Only an index as
    long as that is read, because reading makes a step wait for a GPU.
    """
    if traced() or index.size(0) < rows or rows < 3:
        return
    if bool(((index == 0) | (index == 1)).all()):
        raise ValueError(
            f"{loss}: index must be a boolean mask or row numbers; got {describe(index)} that are "
            f"all 0 or 1, for {rows} rows: a mask as integers. Call .bool() on it."
        )


def select_rows(loss: str, h: Tensor, index: Tensor | None) -> Tensor:
    """``h[index]`` that refuses negative row numbers and names one that does not exist."""
    if index is None:
        return h
    if traced():
        return h.index_select(0, index)
    try:
        return h.index_select(0, index)
    except (IndexError, RuntimeError):
        outside = index[(index < 0) | (index >= h.size(0))]
        if outside.numel() == 0:
            raise
        raise IndexError(
            f"{loss}: index names row {outside[0].item()}, but there are {h.size(0)} rows, "
            f"numbered from 0. Row numbers must lie in [0, {h.size(0)})."
        ) from None


def group_numbers(ids: Tensor) -> Tensor:
    """Group ids, renumbered so that they lie below the number of rows; shapes stay static."""
    ordered, order = ids.sort(stable=True)
    first = torch.ones_like(ordered, dtype=torch.long)
    first[1:] = (ordered[1:] != ordered[:-1]).long()
    return torch.empty_like(order).scatter(0, order, first.cumsum(0) - 1)


def count_groups(group: Tensor) -> Tensor:
    """The number of groups, at least 1; group numbers lie below the number of rows."""
    present = torch.zeros_like(group, dtype=torch.bool).index_fill(0, group, True)
    return present.sum().clamp(min=1)


def check_generator(generator: torch.Generator | None) -> None:
    """Raise a TypeError unless ``generator`` is one, or None."""
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(
            f"generator must be a torch.Generator; got {describe(generator)}. "
            "Use torch.Generator().manual_seed(...)."
        )


def sample_rows(
    n: int, max_samples: int | None, generator: torch.Generator | None, device: torch.device
) -> Tensor | None:
    """At most ``max_samples`` of ``n`` row numbers without replacement; None means all of them."""
    check_generator(generator)
    if max_samples is None or max_samples >= n:
        return None
    if generator is None:
        # With generator=None as an argument, torch.compile compiles anew for each n.
        return torch.randperm(n, device=device)[:max_samples]
    order = torch.randperm(n, generator=generator, device=generator.device)
    return order[:max_samples].to(device)


def row_weights(
    loss: str, weight: Tensor | None, like: Tensor, chosen: Tensor | None, what: str = "row"
) -> Tensor | None:
    """The user's ``weight`` of the selected rows, in float32 or wider; None stands for ones.

    Args:
        loss: The loss that errors name.
        weight: The user's weights, one for each row before the selection.
        like: The rows before the selection.
        chosen: The numbers of the selected rows; None stands for all rows.
        what: What a row stands for, in errors.
    """
    if weight is None:
        return None
    check_weight(loss, "weight", weight, like, what)
    return select_rows(loss, recorded(upcast(weight)), chosen)


def refuse_weight(loss: str, weight: Tensor | None, whose: str) -> None:
    """Raise if a weight for each row is given to a loss whose values belong to something else."""
    if weight is not None:
        raise ValueError(
            f"{loss}: weight has one number per row, but this loss has one value per {whose}; got "
            f"{describe(weight)}. Leave it out, or multiply the loss by a number. Call this loss "
            "beside a WeightedSum whose other losses are to get weights."
        )


def weigh(rows: Tensor, weight: Tensor | None) -> Tensor:
    """Row values times their weights, if any.

    A row of weight 0 adds 0, even if its value is not finite.
    """
    if weight is None:
        return rows
    left_out = (weight == 0) & ~rows.isfinite()
    return rows.masked_fill(left_out, 0) * weight.to(rows.dtype)


def reduce_rows(
    rows: Tensor,
    reduction: str,
    weight: Tensor | None = None,
    counted: Tensor | None = None,
) -> Tensor:
    """The weighted row values, their sum, or their mean; the mean of none is zero.

    Args:
        rows: One value per row.
        reduction: ``"none"``, ``"sum"`` or ``"mean"``.
        weight: One weight per row; None stands for ones. The mean divides by their sum.
        counted: True for the rows that the mean counts, or how much it counts each; None counts
            all. Rows that it does not count have the value 0.
    """
    if weight is None and counted is None and reduction == "mean":
        return mean_of(rows)
    if weight is not None:
        weight = weight.to(torch.promote_types(weight.dtype, rows.dtype))
    if reduction == "mean" and weight is not None and has_rows(weight):
        weight = _over_largest(weight)
    values = weigh(rows, weight)
    if reduction == "none":
        return values
    if reduction == "sum":
        return values.sum()
    return values.sum() / divisor(weight, counted).to(values.dtype)


def sample_weights(weight: Tensor | None, reduction: str, sample: Tensor) -> Tensor | None:
    """The weights of drawn rows; for a mean, relative to the mean weight of all rows, not of these.

    So an estimate of the unweighted loss, with its rows times these, is one of the weighted loss.
    """
    if weight is None:
        return None
    if reduction == "mean":
        weight = _over_largest(weight)
        weight = weight * (weight.size(0) / divisor(weight, None))
    return weight.index_select(0, sample)


def _over_largest(weight: Tensor) -> Tensor:
    """Weights whose mean has the same value, because they are a multiple, and does not overflow."""
    most = weight.detach().amax()
    return weight / most.masked_fill(most == 0, 1)


def divisor(weight: Tensor | None, counted: Tensor | None) -> Tensor:
    """What a mean divides by: the weights of the counted rows, or their number; 1 instead of 0."""
    given = [x for x in (weight, counted) if x is not None]
    total = functools.reduce(torch.mul, given).sum()
    return total.masked_fill(total == 0, 1)
