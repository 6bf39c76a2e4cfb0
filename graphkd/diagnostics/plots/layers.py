"""A measure between every layer of the student and every layer of the teacher."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from graphkd._checks import check_pair, describe
from graphkd.diagnostics.plots._axes import check_axes, make_axes
from graphkd.tap import Tap

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Layers: TypeAlias = Mapping[str, Tensor | Tap] | Sequence[Tap]
# More columns than this leave no room for a number in each cell.
_READABLE = 10


def plot_layers(
    measure: Callable[[Tensor, Tensor], Any],
    student: Layers,
    teacher: Layers,
    *,
    ax: "Axes | None" = None,
) -> "Axes":
    """A heatmap of any measure, a row for each student layer, a column for each teacher layer.

    It shows which layer of the teacher a layer of the student is most like, and so which pair of
    layers a loss on embeddings may compare.

    Args:
        measure: Takes student and teacher rows and gives a number, as
            :func:`graphkd.diagnostics.linear_cka`. Fix further arguments first:
            ``functools.partial(local_structure_correlation, edge_index=edge_index)``.
        student: The rows of each layer by its name, or a :class:`graphkd.Tap` that has them; or a
            list of Taps, which know their layer's name.
        teacher: The same of the teacher.
        ax: Axes to draw on; without them, those of a new figure of ``matplotlib.pyplot``.

    Shapes:
        - **rows of a layer:** :math:`[N, d]`, the width d may differ from layer to layer

    Returns:
        The axes.

    Raises:
        TypeError: If ``measure`` cannot be called, a model's layers are in no such form, a layer's
            output is no floating-point tensor, or ``ax`` is no axes.
        ValueError: If a model has no layers, one is not two-dimensional, row counts or devices
            differ, or two Taps are of one layer.
        RuntimeError: If a Tap's layer has not run.
        ImportError: If matplotlib is not installed.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from torch import nn
        >>> from graphkd import Tap
        >>> from graphkd.diagnostics import linear_cka, plot_layers
        >>> student, teacher = (nn.Sequential(nn.Linear(4, 8), nn.ReLU()) for _ in range(2))
        >>> taps = [[Tap(model, "0"), Tap(model, "1")] for model in (student, teacher)]
        >>> x = torch.randn(20, 4)
        >>> with torch.no_grad():
        ...     _ = student(x), teacher(x)
        >>> ax = plot_layers(linear_cka, *taps, ax=Figure().subplots())
        >>> ax.images[0].get_array().shape
        (2, 2)
    """
    name = "plot_layers"
    if not callable(measure):
        raise TypeError(
            f"{name}: measure must be a function of student and teacher rows; got "
            f"{describe(measure)}. Pass e.g. graphkd.diagnostics.linear_cka."
        )
    rows, columns = _named(name, "student", student), _named(name, "teacher", teacher)
    for row, h_s in rows.items():
        for column, h_t in columns.items():
            check_pair(name, h_s, h_t, names=(f"student[{row!r}]", f"teacher[{column!r}]"))
    check_axes(name, ax)
    values = [[float(measure(h_s, h_t)) for h_t in columns.values()] for h_s in rows.values()]
    size = 2.6 + 0.55 * min(len(columns), 12), 1.8 + 0.4 * min(len(rows), 16)
    (ax,) = make_axes(ax, 1, size)
    # From 0 to 1 as a rule, so that pictures of one measure are coloured alike.
    known = [value for line in values for value in line if value == value]
    image = ax.imshow(
        values, cmap="cividis", aspect="auto", vmin=min([0.0, *known]), vmax=max([1.0, *known])
    )
    ax.figure.colorbar(image, ax=ax)
    turn: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(range(len(columns)), list(columns), **turn)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set(xlabel="teacher layer", ylabel="student layer", title=_title(measure))
    if len(columns) <= _READABLE:
        low, high = image.get_clim()
        for i, line in enumerate(values):
            for j, value in enumerate(line):
                colour = "white" if 2 * value < low + high else "black"
                ax.text(j, i, f"{value:.2f}", ha="center", va="center", color=colour)
    return ax


def _named(plot: str, side: str, layers: Any) -> dict[str, Any]:
    """The output of each layer by its name."""
    if isinstance(layers, Mapping):
        named = {str(layer): rows for layer, rows in layers.items()}
    elif isinstance(layers, Sequence) and all(isinstance(tap, Tap) for tap in layers):
        named = {tap.layer: tap for tap in layers}
    else:
        raise TypeError(
            f"{plot}: {side} must be a dictionary of layers by name, or a list of Taps; got "
            f"{describe(layers)}. Pass e.g. {{'last': h}} or [graphkd.Tap(model, 'convs.1')]."
        )
    if len(named) < len(layers) or not named:
        raise ValueError(
            f"{plot}: {side} must have at least one layer, and each once; got "
            f"{len(layers)} with {len(named)} names. Name them: {{'first': tap, 'second': tap}}."
        )
    with torch.no_grad():  # a picture reads no gradient, and a Tap need not warn of a missing one
        return {key: tap.value if isinstance(tap, Tap) else tap for key, tap in named.items()}


def _title(measure: Any) -> str:
    """What the picture shows, from the measure's name, if it has one that says something."""
    while isinstance(measure, functools.partial):
        measure = measure.func
    name = getattr(measure, "__name__", type(measure).__name__)
    return "" if name == "<lambda>" else str(name)
