"""The chart of docs/losses/index.md: which loss to try, with what the study counts for each."""

import textwrap
from typing import TYPE_CHECKING, NamedTuple

from _study_lead import FAR
from _study_losses import against
from _study_tables import counted, in_points
from study import plan
from study.statistics import NONE, Column, Found, label

from graphkd.diagnostics.plots._axes import GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURE = "choose.svg"
NARROW = "\u00a0"  # counts stay on a line
SHORT = {"krd": "KRD", "nosmog": "NOSMOG"}
WIDTH, HEIGHT = 23, 24
LEFT, MIDDLE = (0, 27, 54, 81), (77, 45, 13)  # of the boxes, by column and by row
ASKING, ADVISING, TEXT = "#eef2f7", "#dff0fa", "#374151"


class Box(NamedTuple):
    column: int
    row: int
    title: str
    lines: list[str]
    asks: bool = False


def draw_chart(found: list[Found]) -> "Figure":
    """Questions and advice; under each advice, what the study counts."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.4, 4.7))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(-0.5, 105), ylim=(0, 90))
    ax.axis("off")
    for box in boxes(found):
        _draw(ax, box)
    right = WIDTH / 2
    for row, columns in ((0, 1), (1, 3), (2, 3)):
        for column in range(1 if row == 2 else 0, columns):
            _arrow(ax, (LEFT[column] + WIDTH, MIDDLE[row]), (LEFT[column + 1], MIDDLE[row]))
    _arrow(ax, (right, MIDDLE[0] - HEIGHT / 2), (right, MIDDLE[1] + HEIGHT / 2))
    ax.plot([right, right], [MIDDLE[1] - HEIGHT / 2, MIDDLE[2]], color=GREY, linewidth=1.2)
    _arrow(ax, (right, MIDDLE[2]), (LEFT[1], MIDDLE[2]))
    for text, x, y in (
        ("no", LEFT[1] - 2, MIDDLE[0] + 2), ("yes", right + 1.6, MIDDLE[0] - 16.5),
        ("yes", LEFT[1] - 2, MIDDLE[1] + 2), ("no", right + 1.6, MIDDLE[1] - 16.5),
        ("then", LEFT[2] - 2, MIDDLE[1] + 2), ("or", LEFT[3] - 2, MIDDLE[1] + 2),
        ("or", LEFT[2] - 2, MIDDLE[2] + 2), ("or", LEFT[3] - 2, MIDDLE[2] + 2),
    ):  # fmt: skip
        ax.text(x, y, text, ha="center", va="bottom", fontsize=8.5)
    note = f"""Of {len(pairs_of(found))} pairs of teacher and student, as far as they
    were run: in how many a loss is above · not told apart from · below the other, at p < 0.05,
    corrected by Holm."""
    ax.text(LEFT[2], MIDDLE[0], "\n".join(textwrap.wrap(" ".join(note.split()), 58)), va="center",
            color=TEXT)  # fmt: skip
    return figure


def pairs_of(found: list[Found]) -> list[tuple[Found, Column]]:
    """The pairs whose teacher's lead is one in points."""
    return [(one, column) for one in found for column in one.columns if in_points(column)]


def boxes(found: list[Found]) -> list[Box]:
    pairs = pairs_of(found)
    close = [pair for pair in pairs if pair[1].gap < FAR]
    ahead = [pair for pair in pairs if pair[1].gap >= FAR]

    def on(base: str, *methods: str, of: list = ahead) -> list[str]:
        """Methods against another, those with the same counts on one line."""
        alike: dict[str, list[str]] = {}
        for name in methods:
            counts = counted(against(of, name, base))
            alike.setdefault(counts, []).append(SHORT.get(name, label(name)))
        lines = [
            f"{', '.join(names)}: {text.replace(' ', NARROW)}"
            for text, names in alike.items()
            if text
        ]
        what = "no distillation" if base == NONE else label(base)
        return [f"against {what}", *(part for line in lines for part in textwrap.wrap(line, 27))]

    more = on("kd", plan.TWICE)[1:]  # no line if it has not been run
    return [
        Box(0, 0, "Is the teacher four points\nor more ahead of the\nstudent alone?", [], True),
        Box(1, 0, "Expect little of KD", on(NONE, "kd", of=close)),
        Box(0, 1, "Are its logits there?", [], True),
        Box(1, 1, "KDLoss: tune weight\nand temperature",
            [*on(NONE, "kd"), *(["against KD", *more] if more else [])]),
        Box(2, 1, "GCRDLoss alone and\nbeside it, chosen by\nvalidation scores",
            on("kd", "gcrd", "kd+gcrd")),
        Box(3, 1, "Last: further losses\nfor MLPs", on("kd", *plan.FOR_MLP)),
        Box(1, 2, "GCRDLoss, temperature\naround 0.5 to 1", on(NONE, "gcrd")),
        Box(2, 2, "FitNetLoss, with\na large weight for MLPs", on(NONE, "fitnet")),
        Box(3, 2, "Last: Global LSP,\nLSP, attention transfer", on(NONE, "glsp", "lsp", "at")),
    ]  # fmt: skip


def _draw(ax: "Axes", box: Box) -> None:
    from matplotlib.patches import FancyBboxPatch

    left, middle = LEFT[box.column], MIDDLE[box.row]
    shape = "round,pad=0,rounding_size=1.2"
    colour = ASKING if box.asks else ADVISING
    ax.add_patch(FancyBboxPatch((left, middle - HEIGHT / 2), WIDTH, HEIGHT, boxstyle=shape,
                                facecolor=colour, edgecolor=GREY))  # fmt: skip
    at = {"ha": "center", "linespacing": 1.15}
    if box.asks:
        ax.text(left + WIDTH / 2, middle, box.title, va="center", weight="bold", **at)
        return
    top, bottom = middle + HEIGHT / 2 - 1.8, middle - HEIGHT / 2 + 1.5
    ax.text(left + WIDTH / 2, top, box.title, va="top", weight="bold", **at)
    ax.text(left + WIDTH / 2, bottom, "\n".join(box.lines), va="bottom", color=TEXT, **at)


def _arrow(ax: "Axes", start: tuple[float, float], end: tuple[float, float]) -> None:
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": GREY, "linewidth": 1.2})
