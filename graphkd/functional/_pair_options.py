"""The options that the losses over all pairs of rows share: G-CRD and Global LSP."""

from typing import Any

from graphkd._checks import check_choice, check_count
from graphkd.distributed import ALL_RANKS, RANKED, check_group, refuse
from graphkd.functional._inputs import check_reduction, check_sampling
from graphkd.ops import PRECISIONS, check_backend, check_precision

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
    check_reduction(loss, reduction)
    check_sampling(loss, max_samples, reduction)
    check_backend(loss, backend, BACKENDS)
    check_choice(f"{loss}: precision", precision, PRECISIONS)
    check_precision(loss, precision, backend)
    if chunk_size is not None:
        check_count(f"{loss}: chunk_size", chunk_size, least=1)
    check_group(loss, process_group, ddp)
    drawn = "It is exact on all ranks' rows. Draw rows on each rank and pass index=."
    refused = {
        "reduction='none'": (reduction == "none", ALL_RANKS),
        "max_samples": (max_samples is not None, drawn),
        f"backend={backend!r}": (backend not in RANKED, "Pass backend='auto'."),
    }
    refuse(loss, process_group, **refused)
