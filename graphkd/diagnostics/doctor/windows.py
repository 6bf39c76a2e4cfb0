"""Averages over windows of a run, so that no single step decides."""

# A window covers so many steps, and at least so many calls that were looked at.
STEPS, CALLS = 20, 3


class Windows:
    """The means of some numbers over consecutive windows of a run.

    A window is at least 20 steps long, and at least ``calls`` calls. NaN counts in none. A run may
    end before its first window does: until then, ``early`` calls speak for the run.
    """

    def __init__(self, calls: int = CALLS, early: int = 1) -> None:
        self.calls, self.early = calls, early
        self.ended: list[dict[str, float]] = []
        self._open: dict[str, list[float]] = {}
        self._first, self._calls = 0, 0

    def add(self, step: int, **numbers: float) -> None:
        """Take in the numbers of a checked call, and close the window if it is long enough."""
        if not self._calls:
            self._first = step
        self._calls += 1
        for name, number in numbers.items():
            kept = self._open.setdefault(name, [])
            if number == number:
                kept.append(number)
        if self._calls >= self.calls and step - self._first >= STEPS - 1:
            self.ended.append(self._mean())
            self._open, self._calls = {}, 0

    def _mean(self) -> dict[str, float]:
        return {k: sum(v) / len(v) for k, v in self._open.items() if v}

    @property
    def means(self) -> list[dict[str, float]]:
        """Those of the windows that have ended; before any has, that of the calls so far."""
        return self.ended if self.ended or self._calls < self.early else [self._mean()]

    def of(self, name: str) -> list[float]:
        """The means of one number, window by window."""
        return [window[name] for window in self.means if name in window]
