"""Checks that the losses share, and the options that travel as one value."""

import math
from numbers import Real
from typing import Any, NamedTuple

from graphkd._checks import REDUCTIONS, check_choice, check_count, describe
from graphkd.distributed import ALL_RANKS, RANKED, check_group, refuse
from graphkd.ops.backends import DENSE, PRECISIONS, RELATIVE, check_backend, check_precision
from graphkd.similarity import Kernel, KernelFunction


def check_reduction(loss: str, reduction: str) -> None:
    """Raise a ValueError unless ``reduction`` is known."""
    check_choice(f"{loss}: reduction", reduction, REDUCTIONS)


def check_blocked_options(
    loss: str,
    *,
    backend: str,
    chunk_size: int | None,
    reduction: str = "mean",
    backends: tuple[str, ...] = DENSE,
) -> None:
    """Raise on a bad option of a loss that works in blocks; most have no programs for GPUs."""
    check_reduction(loss, reduction)
    check_backend(loss, backend, backends)
    if chunk_size is not None:
        check_count(f"{loss}: chunk_size", chunk_size, least=1)


def check_kernel_backend(loss: str, kernel: Kernel | KernelFunction, backend: str) -> None:
    """Raise unless the backend runs this kernel."""
    if not isinstance(kernel, Kernel) and backend not in ("auto", "reference"):
        raise ValueError(
            f"{loss}: a callable kernel runs on the reference backend only; got "
            f"backend={backend!r}. Pass backend='auto' or 'reference'."
        )


def check_weights(loss: str, **weights: Any) -> None:
    """Raise unless the weights are finite and not negative, and one of them is above zero."""
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, Real):
            raise TypeError(f"{loss}: {name} must be a number; got {describe(weight)}.")
        if not 0 <= float(weight) < math.inf:
            raise ValueError(
                f"{loss}: {name} must be finite and not negative; got {weight!r}. Use 0 to switch "
                "its term off."
            )
    if not any(weights.values()):
        raise ValueError(
            f"{loss}: at least one of {', '.join(weights)} must be above 0; got 0 for all."
        )


class PairOptions(NamedTuple):
    """The options that the losses over all pairs of rows share: G-CRD and Global LSP."""

    max_samples: int | None = None
    reduction: str = "mean"
    backend: str = "auto"
    chunk_size: int | None = None
    precision: str = "float32"
    process_group: Any = None
    ddp: bool = True

    def by_name(self) -> dict[str, Any]:
        """The options by their names; torch 2.6 does not compile ``_asdict``."""
        return {name: getattr(self, name) for name in PairOptions._fields}

    def check(self, loss: str) -> None:
        """Raise on an option that is out of range, or does not go with a process group."""
        check_blocked_options(
            loss,
            reduction=self.reduction,
            backend=self.backend,
            chunk_size=self.chunk_size,
            backends=RELATIVE,
        )
        self._check_sampling(loss)
        check_choice(f"{loss}: precision", self.precision, PRECISIONS)
        check_precision(loss, self.precision, self.backend)
        check_group(loss, self.process_group, self.ddp)
        drawn = "It is exact on all ranks' rows. Draw rows on each rank and pass index=."
        refused = {
            "reduction='none'": (self.reduction == "none", ALL_RANKS),
            "max_samples": (self.max_samples is not None, drawn),
            f"backend={self.backend!r}": (self.backend not in RANKED, "Pass backend='auto'."),
        }
        refuse(loss, self.process_group, **refused)

    def _check_sampling(self, loss: str) -> None:
        """Raise unless ``max_samples`` is None or a count, and no value per row is asked for."""
        if self.max_samples is None:
            return
        check_count(f"{loss}: max_samples", self.max_samples, least=2)
        if self.reduction == "none":
            raise ValueError(
                f"{loss}: reduction='none' gives one value per row, which max_samples="
                f"{self.max_samples} does not compute. Use 'mean' or 'sum', or select rows with "
                "index."
            )
