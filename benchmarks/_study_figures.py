"""The figures of the study's pages; those of docs/study.md are drawn here."""

from pathlib import Path

import numpy as np
from _study_chart import PICTURE as CHART
from _study_chart import draw_chart
from _study_gcrd import (
    PICTURE,
    VARIANTS,
    ablated,
    draw_temperature,
    draw_variants,
    repeated,
    with_temperatures,
)
from _study_headline import PICTURE as HEADLINE
from _study_headline import draw_headline, shown
from _study_labels import PICTURE as LABELS
from _study_labels import curves, draw_labels
from _study_lead import PICTURE as LEAD
from _study_lead import draw_lead
from _study_parts import figures as figures_of_parts
from _study_settings import PICTURE as WEIGHTS
from _study_settings import draw_weights, searched
from _study_similarity import draw_preserved, measured
from _study_tables import FOLDER, methods, picture, sure
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from study.ranks import Ranking, alike, ranking
from study.statistics import (
    NONE,
    Column,
    Difference,
    Found,
    differences,
    label,
    read,
)

from graphkd.diagnostics.plots._axes import COLOURS, GREY, open_frame

# The same JSON gives the same file.
STYLE = {"svg.hashsalt": "graphkd", "svg.fonttype": "none", "font.size": 9}
WIDTH, SMALL_TEXT = 11.3, 8  # of all figures alike, so that their letters are
DARK = 5  # points: numbers on deeper colours are white
BEYOND = 12  # points: a collapsed seed's interval does not squeeze the others


def draw_study(figures: Path, folder: Path = FOLDER) -> None:
    found = read(folder)
    columns = [column for one in found for column in one.columns]
    with rc_context(STYLE):
        for one in found:
            if any(len(column.cells) > 2 for column in one.columns):
                _save(forest(one), figures / picture(one))
        if any(len(column.cells) > 2 for column in columns):
            _save(glance(found), figures / "study_glance.svg")
            _save(draw_chart(found), figures / CHART)
        strict, lenient = (ranking(columns, by_student=by) for by in (False, True))
        if strict is not None:
            _save(diagram(strict, lenient.critical), figures / "study_ranks.svg")
        if pairs := shown(folder):
            _save(draw_headline(pairs), figures / HEADLINE)
            _save(draw_lead(pairs), figures / LEAD)
        if by_labels := curves(folder):
            _save(draw_labels(by_labels), figures / LABELS)
        if pairs := searched(folder):
            _save(draw_weights(pairs), figures / WEIGHTS)
        variants = ablated(folder)
        if with_temperatures(variants):
            _save(draw_temperature(variants), figures / PICTURE)
        if repeated(variants)[0]:
            _save(draw_variants(variants), figures / VARIANTS)
        for name, figure in (draw_preserved(measured(folder)) | figures_of_parts(folder)).items():
            _save(figure, figures / name)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, facecolor="white", metadata={"Date": None})


# Differences on one data set ----------------------------------------------------------------------


def forest(found: Found) -> Figure:
    """A panel for each student; above the methods that contain KD, whose differences are small."""
    columns = [column for column in found.columns if len(column.cells) > 2]
    students = list(dict.fromkeys(column.student for column in columns))
    teachers = list(dict.fromkeys(column.teacher for column in columns))
    every = methods(columns)
    groups = [
        [name for name in every if name.startswith("kd") is with_kd] for with_kd in (True, False)
    ]
    groups = [group for group in groups if group]
    size = (WIDTH, 1.1 + 0.27 * sum(len(group) + 2 for group in groups))
    figure = Figure(figsize=size, layout="constrained")
    heights = [len(group) + 1 for group in groups]
    panels = figure.subplots(
        len(groups), len(students), squeeze=False, sharey="row", sharex="row", height_ratios=heights
    )
    for group, row in zip(groups, panels, strict=True):
        for student, ax in zip(students, row, strict=True):
            for column in columns:
                if column.student == student:
                    place = teachers.index(column.teacher)
                    shift = 0.32 * (place - (len(teachers) - 1) / 2)
                    _intervals(ax, column, group, COLOURS[2 * place % len(COLOURS)], shift)
            open_frame(ax)
            ax.axvline(0, color=GREY, linewidth=1)
            ax.set_yticks(range(len(group)), map(label, group))
            ax.tick_params(axis="y", length=0)
            ax.set_ylim(len(group) - 0.4, -0.6)
        low, high = row[0].get_xlim()
        row[0].set_xlim(max(low, -BEYOND), min(high, BEYOND))
    for student, ax in zip(students, panels[0], strict=True):
        ax.set_title(f"{student} student", loc="left", size=10)
    note = "minus KD: mean and 95 % interval, which may go on beyond a panel; filled: p < 0.05"
    figure.supxlabel(note, size=9)
    handles = [
        panels[0][0].plot([], [], "o-", color=COLOURS[2 * i % len(COLOURS)], label=name)[0]
        for i, name in enumerate(teachers)
    ]
    figure.legend(
        handles=handles, title="teacher", loc="outside right upper", frameon=False, fontsize=9
    )
    return figure


def _intervals(ax: Axes, column: Column, group: list[str], colour: str, shift: float) -> None:
    found = differences(column.cells, "kd")
    for y, method in enumerate(group):
        if method in found:
            one = found[method]
            ax.plot([one.low, one.high], [y + shift] * 2, color=colour, linewidth=1.6)
            face = colour if sure(one) else "white"
            ax.plot(one.mean, y + shift, "o", color=colour, markerfacecolor=face, markersize=4.5)


# Differences in every pair ------------------------------------------------------------------------


def glance(found: list[Found]) -> Figure:
    """A row for each pair, a column for each method, with numbers."""
    pairs = [(one, column) for one in found for column in one.columns if len(column.cells) > 2]
    every = methods([column for _, column in pairs])
    values = np.full((len(pairs), 1 + len(every)), np.nan)
    bold = np.zeros(values.shape, dtype=bool)
    for i, (_, column) in enumerate(pairs):
        against = differences(column.cells, "kd")
        row = [differences(column.cells, NONE).get("kd"), *(against.get(name) for name in every)]
        for j, one in enumerate(row):
            if one is not None:
                values[i, j], bold[i, j] = _points(one, column), sure(one)
    figure = Figure(figsize=(WIDTH, 1.7 + 0.21 * len(pairs)),
                    layout="constrained")  # fmt: skip
    ax = figure.subplots()
    edges = np.array([0, 1, *range(2, 2 + len(every))]) + np.array([0, *[0.25] * (1 + len(every))])
    norm = SymLogNorm(0.5, vmin=-40, vmax=40)
    for part, left in ((values[:, :1], [0, 1]), (values[:, 1:], edges[1:])):
        ax.pcolormesh(left, np.arange(len(pairs) + 1), part, cmap="RdBu", norm=norm)
    centres = [0.5, *(1.75 + k for k in range(len(every)))]
    for (i, j), value in np.ndenumerate(values):
        if not np.isnan(value):
            value = round(value, 1) + 0.0
            # A third digit would not fit the cell.
            text = f"{value:+.{int(abs(value) < 10)}f}".replace("-", "−")
            ax.text(centres[j], i + 0.5, text, ha="center", va="center_baseline", size=SMALL_TEXT,
                    weight="bold" if bold[i, j] else "normal",
                    color="white" if abs(value) > DARK else "black")  # fmt: skip
    names = ["KD − none", *map(label, every)]
    ax.set_xticks(centres, names, rotation=45, ha="left", rotation_mode="anchor")
    ax.xaxis.tick_top()
    titles = [one.title for one, _ in pairs]
    first = [i for i, title in enumerate(titles) if i == 0 or title != titles[i - 1]]
    labels = [f"{title}:  {column.name}" for title, (_, column) in zip(titles, pairs, strict=True)]
    ax.set_yticks(np.arange(len(pairs)) + 0.5, labels)
    for i in first[1:]:
        ax.axhline(i, color="white", linewidth=4)
    ax.set_ylim(len(pairs), 0)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return figure


def _points(found: Difference, column: Column) -> float:
    """A difference in points, or in per cent of KD's error."""
    kd = column.cells["kd"].mean
    return found.mean if abs(kd) >= 10 else 100 * found.mean / abs(kd)


# Ranks --------------------------------------------------------------------------------------------


def diagram(found: Ranking, lenient: float) -> Figure:
    """Average ranks on an axis, the best on the left; bars join what does not differ."""
    order = sorted(found.average, key=lambda method: found.average[method])
    bars = alike(found)
    half = (len(order) + 1) // 2
    step, top = 1.0, 1.6 + 0.55 * len(bars)
    figure = Figure(figsize=(WIDTH, 1.6 + 0.22 * (top + half)), layout="constrained")
    ax = figure.subplots()
    low, high = 1, len(order)
    for place, method in enumerate(order):
        left = place < half
        y = top + step * (place if left else len(order) - 1 - place)
        x = found.average[method]
        end = low - 0.4 if left else high + 0.4
        ax.plot([x, x, end], [0, y, y], color=GREY, linewidth=1)
        ax.text(end, y, f" {label(method)}  {x:.1f} ", ha="right" if left else "left",
                va="center", size=9.5)  # fmt: skip
    for i, (first, last) in enumerate(bars):
        ends = found.average[first] - 0.06, found.average[last] + 0.06
        ax.plot(ends, [0.9 + 0.55 * i] * 2, color=COLOURS[2], linewidth=4, solid_capstyle="round")
    for y, width, style, text in (
        (-2.6, found.critical, "-", "critical difference, a sample for each data set"),
        (-1.8, lenient, (0, (2, 1)), "a sample for each student of a data set"),
    ):
        end = min(low + width, high)
        ax.plot([low, end], [y, y], color=COLOURS[0], linewidth=2.5, linestyle=style)
        ax.text(end + 0.15, y, f"{text}: {width:.1f}", va="center", size=8.5)
    ax.plot([low, high], [0, 0], color="black", linewidth=1.2)
    for rank in range(low, high + 1):
        ax.plot([rank, rank], [0, -0.25], color="black", linewidth=1)
        ax.text(rank, -0.45, f"{rank}", ha="center", va="bottom", size=9)
    margin = 0.36 * (high - low)
    ax.set(xlim=(low - margin, high + margin), ylim=(top + step * half, -3.1))
    ax.axis("off")
    return figure
