"""The null distribution of a permutation test, with the score marked."""

from typing import TYPE_CHECKING

import torch

from graphkd._checks import describe
from graphkd.diagnostics.permutation import PermutationTest
from graphkd.diagnostics.plots._axes import COLOURS, GREY, check_axes, make_axes, open_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_null(test: PermutationTest, *, ax: "Axes | None" = None) -> "Axes":
    r"""A histogram of the score under random matchings of rows, and the score itself as a line.

    The farther the line stands from the histogram, the less the score is one that unrelated rows of
    these widths would have, too.

    Args:
        test: The result of :func:`graphkd.diagnostics.permutation_test`.
        ax: Axes to draw on. Without them, a new figure is made by ``matplotlib.pyplot``, which the
            caller shows, saves or closes.

    Returns:
        The axes.

    Raises:
        TypeError: If ``test`` is no such result, or ``ax`` is no axes.
        ValueError: If a score is NaN.
        ImportError: If matplotlib is not installed.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from graphkd.diagnostics import linear_cka, permutation_test, plot_null
        >>> h = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
        >>> test = permutation_test(linear_cka, h, 2 * h, permutations=100)
        >>> ax = plot_null(test, ax=Figure().subplots())
        >>> int(sum(bar.get_height() for bar in ax.patches))
        100
    """
    name = "plot_null"
    if not isinstance(test, PermutationTest):
        raise TypeError(
            f"{name}: test must be the result of permutation_test; got {describe(test)}. Call "
            "permutation_test(measure, h_s, h_t) first."
        )
    unknown = int((~torch.cat([test.null, test.value.view(1)]).isfinite()).sum())
    if unknown:
        raise ValueError(
            f"{name}: the scores must be finite to be drawn; got {unknown} of "
            f"{test.null.numel() + 1} that are not. Look for the rows: ~h.isfinite().all(dim=1), "
            "or for a side whose rows are all equal."
        )
    check_axes(name, ax)
    from matplotlib.ticker import MaxNLocator

    null, score = test.null.cpu().numpy(), float(test.value)
    (ax,) = make_axes(ax, 1, (6.0, 3.6))
    among = f"{null.size:,} random matchings, {float(test.mean):.3g} ± {float(test.std):.2g}"
    ax.hist(null, bins=30, color=COLOURS[0], label=among)
    found = f"score {score:.3g}: z = {float(test.z):,.1f}, p = {float(test.p):.2g}"
    ax.axvline(score, color=COLOURS[2], linewidth=2, label=found)
    ax.set(xlabel="score", ylabel="matchings")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    open_frame(ax)
    ax.spines["bottom"].set_color(GREY)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, borderaxespad=0.2)
    return ax
