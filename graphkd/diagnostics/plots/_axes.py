"""What the pictures share: where they are drawn, and in which colours."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphkd._checks import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Ten colours that readers with any colour vision tell apart, also in print (Petroff 2021,
# arXiv 2107.02270). What is more than ten gets another marker, too.
COLOURS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "p", "*")
GREY = "#5f6672"


def check_axes(plot: str, given: Any, panels: int = 1) -> None:
    """Raise unless matplotlib is there, and ``given`` is None or as many axes as there are panels.

    A picture calls it before it computes anything, so that no measure is computed in vain.
    """
    try:
        from matplotlib.axes import Axes
    except ImportError as error:
        raise ImportError(
            f"{plot} needs matplotlib, which is not installed. Install the extra: pip install "
            "'graphkd[metrics]'."
        ) from error
    if given is None:
        return
    name, kind = ("ax", "Axes") if panels == 1 else ("axes", f"{panels} Axes")
    several = [given] if panels == 1 else _parts(given)
    if len(several) != panels or not all(isinstance(one, Axes) for one in several):
        columns = "" if panels == 1 else f"1, {panels}"
        raise TypeError(
            f"{plot}: {name} must be {kind} of matplotlib; got {describe(given)}. Leave it out, or "
            f"pass figure.subplots({columns})."
        )


def make_axes(given: Any, panels: int, size: tuple[float, float], **how: Any) -> list["Axes"]:
    """The given axes; without, those of a new figure in which nothing overlaps or is cut off."""
    if given is not None:
        return [given] if panels == 1 else _parts(given)
    from matplotlib import pyplot as plt

    _, new = plt.subplots(1, panels, figsize=size, squeeze=False, layout="constrained", **how)
    return list(new[0])


def open_frame(ax: "Axes") -> None:
    """Draw the left and the lower edge only, and a faint grid behind the data."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, color="#e5e7eb", linewidth=0.8)
    ax.set_axisbelow(True)


def _parts(given: Any) -> list[Any]:
    """The axes in a sequence, or in the array that ``subplots`` gives."""
    if hasattr(given, "flat"):
        return list(given.flat)
    return list(given) if isinstance(given, Sequence) else [given]
