"""What distillation brings, against how far the teacher is ahead: a figure, and counts."""

from typing import TYPE_CHECKING

from _study_tables import counted, sure, table
from _tables import joined, prose
from study.statistics import FIRST, NONE, Column, Found, differences, label

from graphkd.diagnostics.plots._axes import GREY, open_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURE = "study_lead.svg"
METHODS = ["kd", "gcrd"]  # of the figure
SHOWN = [NONE, *FIRST]  # what the pairs have that are counted and drawn
FAR = 4  # points: a teacher is far ahead
LOW, HIGH = -5, 50  # of the figure, in points
TICKS = [-5, -2, -1, 0, 1, 2, 5, 10, 20, 40]
MARKERS = "os^Dv<>P"

Pair = tuple[Found, Column]


def counts(found: list[Pair]) -> str:
    """In how many pairs a method brings half of a lead that is far, and is better or worse."""
    columns = [column for _, column in found]
    far = [column for column in columns if column.gap >= FAR]
    rows = []
    for name in SHOWN[1:]:
        half = sum(brings_half(column, name) for column in far)
        than = [counted([differences(one.cells, base)[name] for one in columns])
                if base != name else "" for base in (NONE, "kd")]  # fmt: skip
        rows.append([label(name), f"{half} of {len(far)}", *than])
    text = f"""In how many of {len(found)} pairs a method is *better* · *not told apart* · *worse*,
    and brings more than half of a lead of {FAR} points or more, each at p < 0.05:"""
    heads = ["", "half of the lead", "than no distillation", "than KD"]
    return joined(prose(text), table(heads, rows))


def brings_half(column: Column, method: str) -> bool:
    """Whether a method brings more than a half of the lead, p < 0.05 over the seeds."""
    alone, teaching = column.cells[NONE], column.teaching.scores
    half = {seed: (score + teaching[seed]) / 2 for seed, score in alone.scores.items()
            if seed in teaching}  # fmt: skip
    gain = differences(column.cells | {NONE: alone._replace(scores=half)}, NONE)[method]
    return sure(gain) and gain.mean > 0


def draw_lead(found: list[Pair]) -> "Figure":
    """A panel for each method. On the diagonal, a student has all of its teacher's lead."""
    from matplotlib import color_sequences
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 4.3), layout="constrained")
    axes = figure.subplots(1, len(METHODS), sharey=True)
    # A data set has one colour, whatever its setting.
    sets = list(dict.fromkeys(column.dataset for _, column in found))
    strong, pale = (color_sequences["tab20"][first::2] for first in (0, 1))
    colours = dict(zip(sets, [*strong, *pale], strict=False))
    students = list(dict.fromkeys(column.student for _, column in found))
    markers = dict(zip(students, MARKERS, strict=False))
    for ax, method in zip(axes, METHODS, strict=True):
        _frame(ax, label(method), LOW if any(column.gap < 0 for _, column in found) else 0)
        for _, column in found:
            x, y = column.gap, differences(column.cells, NONE)[method]
            colour = colours[column.dataset]
            ax.plot([x, x], [y.low, y.high], color=colour, linewidth=1.4)
            marker = markers[column.student]
            # Those of unseen nodes are hollow.
            ends = ("white", colour) if column.setting == "production" else (colour, "white")
            ax.plot(x, y.mean, marker, markersize=6.5, markerfacecolor=ends[0],
                    markeredgecolor=ends[1], markeredgewidth=1)  # fmt: skip
            if y.mean < LOW:
                ax.annotate(f"{y.mean:.0f}".replace("-", "−") + " ", (x, LOW), ha="right",
                            va="bottom", color=colour)  # fmt: skip
    axes[0].text(30, 34, "all of the lead", ha="right", color=GREY)
    axes[0].set_ylabel("student distilled − alone, points")
    figure.supxlabel("teacher − student alone, points", size=9)
    marks = [(name.rpartition(":")[2], "s", colour) for name, colour in colours.items()]
    marks += [(" ", "s", "white")] + [(name, mark, GREY) for name, mark in markers.items()]
    handles = [
        axes[0].plot([], [], marker=mark, color=colour, linestyle="", label=name)[0]
        for name, mark, colour in marks
    ]
    handles += axes[0].plot([], [], "o", markerfacecolor="white", color=GREY, label="unseen nodes")
    figure.legend(handles=handles, loc="outside right upper", frameon=False)
    return figure


def _frame(ax: "Axes", title: str, left: float) -> None:
    """Axes that are linear to two points and logarithmic from there, both alike."""
    from matplotlib.ticker import NullLocator

    ax.set_xscale("symlog", linthresh=2, linscale=0.6)
    ax.set_yscale("symlog", linthresh=2, linscale=0.6)
    ax.set(xlim=(left, HIGH), ylim=(LOW, HIGH), yticks=TICKS)
    ax.set_xticks([tick for tick in TICKS if tick >= left])
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "−"))
        axis.set_minor_locator(NullLocator())
    ax.plot([left, HIGH], [left, HIGH], color="#d1d5db", linewidth=3, zorder=0)
    ax.axhline(0, color=GREY, linewidth=1, zorder=0)
    ax.set_title(title, loc="left", size=10)
    open_frame(ax)
