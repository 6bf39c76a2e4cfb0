"""How well methods preserve local and global structure: a point for each."""

from collections.abc import Iterable, Mapping
from numbers import Real
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, TypeAlias

from torch import Tensor

from graphkd._checks import describe
from graphkd.diagnostics.plots._axes import COLOURS, MARKERS, check_axes, make_axes, open_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Scores: TypeAlias = Mapping[str, float | Tensor | Iterable[float | Tensor]]


def plot_preservation(local: Scores, global_: Scores, *, ax: "Axes | None" = None) -> "Axes":
    """Local against global preservation, a point for each method.

    Several seeds make one point at their mean, with bars of one standard deviation.

    Args:
        local: The score of each method by its name, e.g. of
            :func:`graphkd.diagnostics.local_structure_correlation`: a number, or one for each seed.
        global_: The same of e.g. :func:`graphkd.diagnostics.global_structure_correlation`.
        ax: Axes to draw on; without them, those of a new figure of ``matplotlib.pyplot``.

    Returns:
        The axes.

    Raises:
        TypeError: If the scores are no dictionaries of numbers, or ``ax`` is no axes.
        ValueError: If there is no method, the two dictionaries differ in their methods, or a method
            has no score or a different number of seeds in each.
        ImportError: If matplotlib is not installed.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from graphkd.diagnostics import plot_preservation
        >>> local = {"LSP": [0.9, 0.8], "G-CRD": [0.6, 0.7]}
        >>> global_ = {"LSP": [0.5, 0.5], "G-CRD": [0.8, 0.9]}
        >>> ax = plot_preservation(local, global_, ax=Figure().subplots())
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['LSP', 'G-CRD']
    """
    name = "plot_preservation"
    scores = [_seeds(name, side, given) for side, given in (("local", local), ("global_", global_))]
    _check_match(name, *scores)
    check_axes(name, ax)
    (ax,) = make_axes(ax, 1, (6.4, 4.2))
    markers = []
    for k, (method, y) in enumerate(scores[0].items()):
        x = scores[1][method]
        # Colours and markers are gone through at their own pace, so that 70 methods look different.
        style: dict[str, Any] = {"color": COLOURS[k % len(COLOURS)], "label": method}
        style |= {"xerr": stdev(x), "yerr": stdev(y)} if len(x) > 1 else {}
        point = ax.errorbar(
            fmean(x), fmean(y), fmt=MARKERS[k % len(MARKERS)], **style,
            markersize=8, elinewidth=1.2, markeredgecolor="white", markeredgewidth=0.8,
        )  # fmt: skip
        markers.append(point.lines[0])
    ax.set(xlabel="global preservation", ylabel="local preservation")
    open_frame(ax)
    # The markers alone: bars in a legend would hide them.
    columns = -(-len(markers) // 16)
    ax.legend(
        markers, list(scores[0]), loc="upper left", bbox_to_anchor=(1, 1), frameon=False,
        ncols=columns,
    )  # fmt: skip
    return ax


def _seeds(plot: str, side: str, given: Any) -> dict[str, list[float]]:
    """The numbers of each method."""
    if not isinstance(given, Mapping):
        raise TypeError(
            f"{plot}: {side} must be a dictionary of scores by method; got {describe(given)}. Pass "
            "e.g. {'KD': [0.71, 0.74], 'G-CRD': [0.80, 0.78]}."
        )
    return {str(method): _numbers(plot, side, method, value) for method, value in given.items()}


def _numbers(plot: str, side: str, method: Any, value: Any) -> list[float]:
    parts = value.flatten().tolist() if isinstance(value, Tensor) else value
    parts = [parts] if isinstance(parts, Real) or not isinstance(parts, Iterable) else list(parts)
    parts = [
        part.item() if isinstance(part, Tensor) and part.numel() == 1 else part for part in parts
    ]
    if not all(isinstance(part, Real) for part in parts):
        raise TypeError(
            f"{plot}: {side}[{method!r}] must be a number, or one for each seed; got "
            f"{describe(value)}. Call float(...) on each."
        )
    return [float(part) for part in parts]


def _check_match(plot: str, local: dict[str, list[float]], global_: dict[str, list[float]]) -> None:
    """Raise unless both have the same methods, with the same number of seeds, at least one."""
    if local.keys() != global_.keys() or not local:
        only = sorted(local.keys() ^ global_.keys())
        got = f"only one of them has {', '.join(map(repr, only))}" if only else "no method"
        raise ValueError(
            f"{plot}: local and global_ must have the same methods, at least one; got {got}. Score "
            "every method by both measures."
        )
    for method in local:
        counts = len(local[method]), len(global_[method])
        if 0 in counts or counts[0] != counts[1]:
            raise ValueError(
                f"{plot}: {method!r} must have a score of each seed in local and global_; got "
                f"{counts[0]} and {counts[1]}. Score the same runs by both measures."
            )
