"""How the primitives cut rows and pairs into blocks."""

from collections.abc import Iterator

# A block holds at most this many numbers: 16 MiB in float32.
BLOCK = 2**22


def slices(count: int, size: int) -> Iterator[slice]:
    """The blocks of ``size`` of a range."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def breadth(height: int, count: int) -> int:
    """How many of ``count`` columns go with ``height`` rows: all, if that is little more."""
    size = max(BLOCK // max(height, 1), 1)
    return max(count, 1) if count < 1.5 * size else size
