"""What the doctor reports, and what a check is."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from graphkd.diagnostics.doctor.call import Call


class Finding(NamedTuple):
    """One thing that is wrong with a run: its code, what was seen, and what to do."""

    code: str
    message: str
    remedy: str


class Check(Protocol):
    """Looks at calls, and says what it found in them so far."""

    def see(self, call: Call) -> None:
        """Look at a call."""

    def findings(self) -> Iterator[Finding]:
        """What was found so far, each code once."""
        ...


def several(parts: list[str], most: int = 3) -> str:
    """The first few of a list, in words."""
    more = len(parts) - most
    return ", ".join(parts[:most]) + (f" and {more} more" if more > 0 else "")
