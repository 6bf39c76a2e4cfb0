"""The options that the losses over all pairs of rows share: G-CRD and Global LSP."""

from typing import Any

from graphkd._checks import check_choice
from graphkd.distributed import ALL_RANKS, RANKED, check_group, refuse
from graphkd.functional._blocked import check_blocked_options
from graphkd.functional._rows import check_sampling
from graphkd.ops import PRECISIONS, check_precision

BACKENDS = ("reference", "chunked", "triton")


def check_pair_options(
    loss: str,
    *,
    max_samples: int | None,
    reduction: str,
    backend: str,
    chunk_size: int | None,
    precision: str,
    process_group: Any,
    ddp: bool,
) -> None:
    """Raise on an option that is out of range, or does not go with a process group."""
    check_blocked_options(
        loss, reduction=reduction, backend=backend, chunk_size=chunk_size, backends=BACKENDS
    )
    check_sampling(loss, max_samples, reduction)
    check_choice(f"{loss}: precision", precision, PRECISIONS)
    check_precision(loss, precision, backend)
    check_group(loss, process_group, ddp)
    drawn = "It is exact on all ranks' rows. Draw rows on each rank and pass index=."
    refused = {
        "reduction='none'": (reduction == "none", ALL_RANKS),
        "max_samples": (max_samples is not None, drawn),
        f"backend={backend!r}": (backend not in RANKED, "Pass backend='auto'."),
    }
    refuse(loss, process_group, **refused)
