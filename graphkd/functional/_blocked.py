"""The options of the losses that work block by block."""

from graphkd._checks import check_count
from graphkd.functional._rows import check_reduction
from graphkd.ops import check_backend

BACKENDS = ("reference", "chunked")


def check_blocked_options(
    loss: str,
    *,
    backend: str,
    chunk_size: int | None,
    reduction: str = "mean",
    backends: tuple[str, ...] = BACKENDS,
) -> None:
    """Raise on an option that is out of range; most have no program for GPUs."""
    check_reduction(loss, reduction)
    check_backend(loss, backend, backends)
    if chunk_size is not None:
        check_count(f"{loss}: chunk_size", chunk_size, least=1)
