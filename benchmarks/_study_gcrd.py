"""What docs/study_gcrd.md says: the ablation's tables, and scores by temperature."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from _study_tables import (
    FOLDER,
    counted,
    dropdown,
    interval,
    listed,
    pair_names,
    places,
    setting,
    table,
    tested,
    wide,
)
from _tables import image, joined, prose
from study import ablation, plan
from study.methods import BALANCED
from study.schedule import parsed
from study.statistics import NONE, Column, Difference, Found, difference, holm, label, summary

from graphkd.diagnostics.plots._axes import COLOURS, GREY, open_frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BASE = "gcrd"
WIDEST = 6  # points: a collapsed seed's interval does not squeeze the others
PICTURE, VARIANTS = "study_temperature.svg", "study_variants.svg"
GROUPS = ablation.variants("node") | ablation.variants("graph")


def gcrd_blocks(folder: Path = FOLDER) -> dict[str, str]:
    """The marked blocks of the page; none without results."""
    found = ablated(folder)
    if not found:
        return {}
    return {
        "ablation temperature": temperature(found),
        "ablation across": across(found),
        "ablation": joined(*(one_column(*pair) for pair in found)),
    }


def ablated(folder: Path) -> list[tuple[Found, Column]]:
    """The columns with variants: the cells' lines and the ablation's are read as one file's."""
    pairs = []
    for path in sorted((folder / "ablation").glob("*.jsonl")):
        cells = folder / path.name
        if not cells.exists():
            raise SystemExit(f"{path} goes with {cells}, which is not there.")
        header, lines = parsed(cells.read_text())
        for job, variants in parsed(path.read_text())[1].items():
            lines[job] = [*lines.get(job, []), *variants]
        found = summary(header, lines, {})
        whole = [one for one in found.columns if {NONE, BASE} <= one.cells.keys()]
        pairs += [(found, one) for one in whole if {*one.cells} & {*every()}]
    return pairs


def every() -> list[str]:
    """The variants, as the ablation lists them, with those among the cells' methods."""
    return [name for group in GROUPS.values() for name in group]


def variants() -> list[str]:
    """Those of G-CRD alone, with its own weight."""
    return [plan.PAPER_GCRD, *(name for name in every() if name.startswith(f"{BASE}["))]


def shown(method: str) -> str:
    return label(method) + (" †" if method in ablation.PAPER else "")


def one_column(found: Found, column: Column) -> str:
    """The variants of a pair, against G-CRD as the cells have it and against no distillation."""
    beside = [NONE, "kd", "kd+gcrd", *ablation.BESIDE_KD, BASE]
    names = variants()
    against = compared(column, names)
    rows = [row(column, name, against) for name in [*beside, *names] if name in column.cells]
    trials = sorted({column.cells[name].trials for name in [BASE, *names] if name in column.cells})
    text = f"""{found.seeds} seeds; G-CRD and each variant had {listed(trials)} trials, for what it
    does not fix. † marks what the paper does. Differences are paired; p is that to G-CRD, by
    Wilcoxon, with Holm's correction over the variants of the table."""
    head = ["variant", "test", "− none", "− KD", "− G-CRD", "p", "setting"]
    return joined(
        f"### {found.title}, {column.name}",
        prose(text),
        dropdown("All variants", table(head, rows)),
        balance(column),
    )


def row(column: Column, name: str, against: dict[str, Difference]) -> list[str]:
    cell = column.cells[name]
    gains = []
    for other in (NONE, "kd"):
        scores = column.cells[other].scores if other in column.cells and other != name else None
        gain = difference(cell.scores, scores) if scores else None
        gains.append(interval(gain, places(cell.mean))[0].replace("**", ""))
    to_base = interval(against.get(name), places(cell.mean))
    return [shown(name), tested(cell)[0], *gains, *to_base, setting(cell.options)]


def compared(column: Column, names: list[str], base: str = BASE) -> dict[str, Difference]:
    """The variants' differences to G-CRD or another method, corrected for their number."""
    scores = column.cells[base].scores
    pairs = {
        name: difference(column.cells[name].scores, scores)
        for name in names
        if name in column.cells
    }
    ps = holm([one.p for one in pairs.values()])
    return {name: one._replace(p=p) for (name, one), p in zip(pairs.items(), ps, strict=True)}


def balance(column: Column) -> str:
    """Losses that WeightedSum balances, at weight 1, against the same with a tuned weight."""
    rows, ones = [], []
    for name in GROUPS["balanced"]:
        tuned = name.removeprefix(BALANCED)
        if name in column.cells and tuned in column.cells:
            mine, other = column.cells[name], column.cells[tuned]
            one = difference(mine.scores, other.scores)
            ones.append(one)
            rows.append([label(tuned), tested(other)[0], tested(mine)[0],
                         setting(other.options), setting(mine.options)])  # fmt: skip
    if not rows:
        return ""
    ps = holm([one.p for one in ones])
    for row_, one, p in zip(rows, ones, ps, strict=True):
        row_[3:3] = interval(one._replace(p=p), 1)
    head = ["method", "weight tuned", "balanced", "balanced − tuned", "p", "tuned to",
            "balanced, at"]  # fmt: skip
    return joined(
        prose("""`WeightedSum(balance=True)` with every weight at 1, against the weight that the
        search found; temperature and dropout are tuned in both. p is corrected by Holm."""),
        table(head, rows),
    )


# Over pairs ---------------------------------------------------------------------------------------


def repeated(found: list[tuple[Found, Column]]) -> tuple[list[str], list[str]]:
    """The variants that several pairs have but for held temperatures, and the sums with KD."""
    held = {f"{BASE}[temperature={t}]" for t in ablation.TEMPERATURES}
    counts = {name: sum(name in column.cells for _, column in found) for name in every()}
    names = [name for name in counts if counts[name] > 1 and name not in held]
    alone = [name for name in names if name.startswith(f"{BASE}[")]
    return alone, [name for name in names if name in ablation.BESIDE_KD]


def across(found: list[tuple[Found, Column]]) -> str:
    """Those variants against G-CRD, KD and their sum, pair by pair."""
    alone, sums = repeated(found)
    if not alone:
        return ""
    text = """Variants that several pairs have. In how many of them a variant is *above* · *not told
    apart from* · *below* G-CRD and KD, at p < 0.05, corrected for the variants of the pair; below,
    the differences, mean and 95 % interval over the seeds, in bold where they count as above or
    below. A variant's settings are tuned with as many trials. The picture ends at six points; where
    a seed has collapsed, an interval goes farther."""
    rows = []
    for name in alone:
        of = [column for _, column in found if name in column.cells]
        counts = (
            counted([compared(one, variants(), base)[name] for one in of if base in one.cells])
            for base in (BASE, "kd")
        )
        rows.append([shown(name), str(len(of)), *counts])
    return joined(
        prose(text),
        table(["variant", "pairs", "against G-CRD", "against KD"], rows),
        wide(image(f"_static/{VARIANTS}", "Differences of variants to G-CRD and to KD by pair")),
        dropdown("Minus G-CRD", minus(found, alone, BASE)),
        dropdown("Minus KD", minus(found, [*alone, *sums], "kd")),
        dropdown("Sums minus KD + G-CRD", minus(found, sums, "kd+gcrd")) if sums else "",
    )


def minus(found: list[tuple[Found, Column]], names: list[str], base: str) -> str:
    """Bold marks what is counted as above or below; sums are not counted."""
    rows = []
    for (_, column), title in zip(found, pair_names(found), strict=True):
        counts = compared(column, variants(), base) if base in column.cells else {}
        gains = {name: gained(column, name, base) for name in names}
        if any(gains.values()):
            cells = [
                interval(counts[name], 1)[0]
                if name in counts
                else interval(gain, 1)[0].replace("**", "")
                for name, gain in gains.items()
            ]
            rows.append([title, *cells])
    return table(["pair", *map(shown, names)], rows)


def gained(column: Column, method: str, base: str) -> Difference | None:
    """None where the pair lacks one of the two."""
    if not {method, base} <= column.cells.keys():
        return None
    return difference(column.cells[method].scores, column.cells[base].scores)


def draw_variants(found: list[tuple[Found, Column]]) -> "Figure":
    """A row for each pair, its variants one above the other: minus G-CRD, and minus KD."""
    from matplotlib.figure import Figure

    alone, _ = repeated(found)
    found = [pair for pair in found if {*alone} & pair[1].cells.keys()]
    figure = Figure(figsize=(11.3, 1.2 + 0.45 * len(found)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for ax, base in zip(panels, (BASE, "kd"), strict=True):
        ax.axvline(0, color=GREY, linewidth=1, linestyle=":")
        for k, name in enumerate(alone):
            shift = (k - (len(alone) - 1) / 2) * 0.22
            gains = [(y + shift, gained(column, name, base)) for y, (_, column) in enumerate(found)]
            drawn = [(y, gain) for y, gain in gains if gain is not None]
            means = [gain.mean for _, gain in drawn]
            errors = [[gain.mean - gain.low for _, gain in drawn],
                      [gain.high - gain.mean for _, gain in drawn]]  # fmt: skip
            style = {"fmt": "os^D"[k % 4], "color": COLOURS[k % len(COLOURS)], "label": shown(name)}
            ax.errorbar(means, [y for y, _ in drawn], xerr=errors, capsize=2, ms=5, **style)
        ax.set(xlabel=f"points over {label(base)}", xlim=(-WIDEST, WIDEST))
        open_frame(ax)
    panels[0].set_yticks(range(len(found)), pair_names(found))
    panels[0].set_ylim(len(found) - 0.5, -0.5)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4,
                  frameon=False)  # fmt: skip
    return figure


# Temperature --------------------------------------------------------------------------------------


def by_temperature(column: Column) -> dict[float, Difference]:
    """G-CRD at each temperature that was held, against the student alone."""
    alone = column.cells[NONE].scores
    names = {t: f"gcrd[temperature={t}]" for t in (0.075, *ablation.TEMPERATURES)}
    return {
        t: difference(column.cells[name].scores, alone)
        for t, name in sorted(names.items())
        if name in column.cells
    }


def with_temperatures(found: list[tuple[Found, Column]]) -> list[tuple[Found, Column]]:
    return [pair for pair in found if len(by_temperature(pair[1])) > 1]


def temperature(found: list[tuple[Found, Column]]) -> str:
    found = with_temperatures(found)
    if not found:
        return ""
    rows, temperatures = [], sorted({t for _, one in found for t in by_temperature(one)})
    for one, column in found:
        by = by_temperature(column)
        cells = [interval(by.get(t), 1)[0].replace("**", "") for t in temperatures]
        rows.append([f"{one.title}, {column.name}", *cells])
    return joined(
        prose("""G-CRD minus no distillation at a temperature that is held; weight and dropout are
        tuned at each. Mean and 95 % interval over the seeds."""),
        wide(image(f"_static/{PICTURE}", "Gain of G-CRD by temperature, beside that of KD")),
        dropdown("The numbers", table(["", *(f"τ = {t:g}" for t in temperatures)], rows)),
    )  # fmt: skip


def draw_temperature(found: list[tuple[Found, Column]]) -> "Figure":
    """The gain over temperatures, a panel for each column, with KD's as a band."""
    from matplotlib.figure import Figure

    found = with_temperatures(found)
    size = (max(4.8, 3.8 * len(found)), 3.3)
    figure = Figure(figsize=size, layout="constrained")
    for ax, (one, column) in zip(figure.subplots(1, len(found), squeeze=False)[0], found,
                                 strict=True):  # fmt: skip
        by = by_temperature(column)
        x, y = [*by], [difference.mean for difference in by.values()]
        low, high = ([getattr(one, end) for one in by.values()] for end in ("low", "high"))
        ax.axvspan(0.05, 0.1, color="#e5e7eb", zorder=0, label="the paper's temperatures")
        for name, colour in (("kd", COLOURS[1]), ("kd+gcrd", COLOURS[4])):
            if name in column.cells:
                gain = difference(column.cells[name].scores, column.cells[NONE].scores)
                ax.axhline(gain.mean, color=colour, label=f"{label(name)}, tuned")
                if name == "kd" and not math.isnan(gain.low):
                    ax.axhspan(gain.low, gain.high, color=colour, alpha=0.15, linewidth=0)
        ax.axhline(0, color=GREY, linewidth=1, linestyle=":")
        ax.plot(x, y, "o-", color=COLOURS[0], label="G-CRD at this temperature")
        ax.fill_between(x, low, high, color=COLOURS[0], alpha=0.2, linewidth=0)
        ax.set(xscale="log", xlabel="temperature τ", title=f"{one.title}, {column.name}")
        ax.set_xticks(x, [f"{t:g}" for t in x], minor=False)
        ax.minorticks_off()
        open_frame(ax)
    figure.axes[0].set_ylabel("points over no distillation")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2,
                  frameon=False)  # fmt: skip
    return figure
