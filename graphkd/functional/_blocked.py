"""The options of the losses over all pairs of rows that have no program for GPUs."""

from graphkd._checks import check_count
from graphkd.functional._inputs import check_reduction
from graphkd.ops import check_backend

BACKENDS = ("reference", "chunked")


def check_blocked_options(
    loss: str, *, reduction: str, backend: str, chunk_size: int | None
) -> None:
    """Raise on an option that is out of range."""
    check_reduction(loss, reduction)
    check_backend(loss, backend, BACKENDS)
    if chunk_size is not None:
        check_count(f"{loss}: chunk_size", chunk_size, least=1)
