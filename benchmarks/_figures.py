"""The figures of the speed benchmark: time and memory against N or E, one SVG per section."""

from pathlib import Path
from typing import Any

from _speed_tables import BUDGET_GIB, DEVICES, TITLES, curves, naive_limit
from _tables import Result, read

STYLES: dict[str, dict[str, Any]] = {
    "ours": {"color": "#c0392b", "marker": "o", "linewidth": 2.2, "zorder": 5},
    "ours, teacher precomputed": {"color": "#e59866", "marker": "o", "linestyle": "--"},
    "naive": {"color": "#2c3e50", "marker": "s", "linewidth": 1.8},
    "naive, unit rows": {"color": "#5d6d7e", "marker": "D", "linestyle": "--"},
    "naive, compiled": {"color": "#2980b9", "marker": "^"},
    "info-nce-pytorch": {"color": "#8e44ad", "marker": "v", "linestyle": ":"},
}


def draw_figures(folder: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    # The same JSON gives the same file.
    mpl.rcParams.update({
        "svg.hashsalt": "graphkd", "svg.fonttype": "none", "font.size": 10,
        "axes.spines.top": False, "axes.spines.right": False,
    })  # fmt: skip
    for device in DEVICES:
        result = read(f"speed_{device}")
        for name, cases in curves(result).items() if result else ():
            _draw(name, cases, folder / f"bench_{name}_{device}.svg")


def _draw(name: str, cases: list[Result], path: Path) -> None:
    from matplotlib import pyplot as plt

    cases = [case for case in cases if case["d"] == cases[0]["d"]]
    axis = "edges" if cases[0]["edges"] else "n"
    figure, (time, memory) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    limit = naive_limit(cases)
    contenders = list(dict.fromkeys(c for case in cases for c in case["contenders"]))
    for contender in contenders:
        style = {"markersize": 5, "marker": "x", **STYLES.get(contender, {})}
        found = [(case[axis], case["contenders"][contender]) for case in cases
                 if contender in case["contenders"]]  # fmt: skip
        (line,) = time.plot(
            [x for x, _ in found], [row["seconds"]["median"] for _, row in found], **style
        )
        time.fill_between(
            [x for x, _ in found],
            [row["seconds"]["low"] for _, row in found],
            [row["seconds"]["high"] for _, row in found],
            color=line.get_color(),
            alpha=0.2,
            linewidth=0,
        )
        style["color"] = line.get_color()
        found = [(x, row["peak_mib"]) for x, row in found if "peak_mib" in row]
        memory.plot([x for x, _ in found], [y for _, y in found], label=contender, **style)
        if contender == "naive" and limit and found:
            memory.plot(
                [found[-1][0], limit[0]], [found[-1][1], BUDGET_GIB * 1024], ":", color="#2c3e50"
            )
            memory.plot(limit[0], BUDGET_GIB * 1024, "*", markersize=13, color="#2c3e50",
                        label=f"naive fills {BUDGET_GIB} GiB")  # fmt: skip
            time.axvline(limit[0], linestyle=":", color="#2c3e50")
    letter = f"{'E, edges' if axis == 'edges' else 'N, rows'} (d = {cases[0]['d']})"
    for axes, quantity in ((time, "seconds, forward + backward"), (memory, "peak memory, MiB")):
        axes.set(xscale="log", yscale="log", xlabel=letter, ylabel=quantity)
        axes.grid(visible=True, which="major", alpha=0.3)
    figure.suptitle(TITLES[name])
    handles, labels = memory.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    figure.savefig(path, facecolor="white", metadata={"Date": None})
    plt.close(figure)
