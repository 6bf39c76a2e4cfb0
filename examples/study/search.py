"""The search for settings: as many trials for every method, chosen on validation data.

A point is a tuple of whole numbers, the places on the axes. `propose` is a function of what has
been tried, so that a search that was stopped goes on from its scores. It first tries five places
along the first axis, then the neighbours of the best point so far, so that the grid grows to where
the winner is. On an axis of numbers, neighbours are two steps away at first, then one; it ends ten
steps from its start, which for a weight is a factor of 100,000. A list has ends, too.
"""

from collections.abc import Iterator, Mapping
from math import inf, log, prod
from typing import Any, NamedTuple

Point = tuple[int, ...]
# The first places on the first axis, in strides.
SWEEP = (0, 1, -1, 2, -2)
FARTHEST = 10


class Axis(NamedTuple):
    """Values in order: start * ratio ** k to two digits, or those of a list."""

    start: Any
    ratio: float | None = None
    values: tuple[Any, ...] = ()

    @property
    def stride(self) -> int:
        return 2 if self.ratio is not None else 1

    def has(self, k: int) -> bool:
        if self.ratio is not None:
            return abs(k) <= FARTHEST
        return 0 <= self._place(k) < len(self.values)

    def value(self, k: int) -> Any:
        if self.ratio is not None:
            return float(f"{self.start * self.ratio**k:.2g}")
        return self.values[self._place(k)]

    def step(self, value: Any) -> int:
        """The k that has this value."""
        if self.ratio is not None:
            return round(log(value / self.start) / log(self.ratio))
        return self.values.index(value) - self.values.index(self.start)

    def _place(self, k: int) -> int:
        return self.values.index(self.start) + k


Axes = Mapping[str, Axis]


def options(axes: Axes, point: Point) -> dict[str, Any]:
    """The values of a point, by name."""
    return {name: axis.value(k) for (name, axis), k in zip(axes.items(), point, strict=True)}


def size(axes: Axes) -> float:
    """How many points there are; an axis of numbers has no end."""
    return prod(inf if axis.ratio is not None else len(axis.values) for axis in axes.values())


def point(axes: Axes, options: Mapping[str, Any]) -> Point:
    """The point that has these values."""
    return tuple(axis.step(options[name]) for name, axis in axes.items())


def propose(axes: Axes, tried: Mapping[Point, float], trials: int) -> Point | None:
    """The next point to try, or None after so many trials, or if all points have been tried."""
    if len(tried) >= trials:
        return None
    return next((new for new in _candidates(axes, tried) if new not in tried), None)


def best(tried: Mapping[Point, float]) -> Point:
    """The point of the highest score; the first of equals."""
    return max(tried, key=lambda point: tried[point])


def at_edge(axes: Axes, tried: Mapping[Point, float]) -> list[str]:
    """The axes on which nothing beyond the best point has been tried, though there are values."""
    winner, edges = best(tried), []
    for i, (name, axis) in enumerate(axes.items()):
        places = {point[i] for point in tried}
        beyond = [winner[i] + by for by, end in ((-1, min), (1, max)) if winner[i] == end(places)]
        if any(axis.ratio is not None or axis.has(k) for k in beyond):
            edges.append(name)
    return edges


def _candidates(axes: Axes, tried: Mapping[Point, float]) -> Iterator[Point]:
    origin = (0,) * len(axes)
    first = next(iter(axes.values()))
    for place in SWEEP:
        if first.has(first.stride * place):
            yield (first.stride * place, *origin[1:])
    for centre in sorted(tried, key=lambda point: -tried[point]):
        for fine in (False, True):
            for i, axis in enumerate(axes.values()):
                step = 1 if fine else axis.stride
                for k in (centre[i] + step, centre[i] - step):
                    if axis.has(k):
                        yield (*centre[:i], k, *centre[i + 1 :])
