"""The tables and the figure of quickstart.py."""

from pathlib import Path
from typing import Any

from _common import show
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

GREY, BLUE, ORANGE = "#6b7280", "#2563a8", "#d9690f"


def print_tables(result: dict[str, Any], console: Console) -> None:
    metric, teacher = result["metric"], result["teacher"]
    over = f"mean ± standard deviation over {_seeds(result)}"
    console.print(f"\n{result['dataset']}: test {metric} in %, {over}")
    table = Table("model", "distilled")
    for column in ("parameters", "inference, ms", metric):
        table.add_column(column, justify="right")
    rows = [("GAT (teacher)", "–", teacher, teacher["test"])]
    for name, student in result["students"].items():
        rows += [
            (f"{name} (student)", done, student, student["methods"][method]["test"])
            for done, method in (("no", "none"), ("KD", "kd"))
        ]
    for name, done, model, test in rows:
        numbers = f"{model['parameters']:,}", f"{model['milliseconds']:.2f}", show(test)
        table.add_row(name, done, *numbers)
    console.print(table)

    table = Table("student", "method")
    for column in (metric, "Δ no distillation", "Δ KD"):
        table.add_column(column, justify="right")
    for name, student in result["students"].items():
        for key, method in student["methods"].items():
            table.add_row(
                name,
                method["label"],
                show(method["test"]),
                "" if key == "none" else show(method["minus_none"], "+"),
                "" if key == "kd" else show(method["minus_kd"], "+"),
            )
        table.add_section()
    console.print(table)
    console.print("Inference: the median forward pass over the whole graph, on this machine.")
    console.print("Differences are taken seed by seed: same split, teacher and initial student.")


def plot(result: dict[str, Any], path: Path) -> None:
    """A panel for each student: the seeds as small dots, their mean and standard deviation."""
    students, teacher = result["students"], result["teacher"]
    rows = max(len(student["methods"]) for student in students.values())
    figure = Figure(figsize=(1.8 + 6.2 * len(students), 2.2 + 0.4 * rows), dpi=200)
    panels = figure.subplots(1, len(students), sharey=True, squeeze=False)[0]
    for ax, (name, student) in zip(panels, students.items(), strict=True):
        _panel(ax, student, teacher["test"]["mean"])
        ax.set_title(f"{name} student: {_cost(student)}", loc="left", size=12, pad=26)
        ax.set_xlabel(f"test {result['metric']}, %", size=11)
    into = f"an {name}" if list(students) == ["MLP"] else f"a {name}"
    into = into if len(students) == 1 else "small students"
    title = f"Distilling a graph attention network into {into}"
    inch = 1 / figure.get_figheight()
    figure.text(0.02, 1 - 0.13 * inch, title, size=16, weight="bold", va="top")
    source = f"{result['dataset']}; {result['labelled']:,} labelled nodes"
    if result["dataset"] == "Digits":
        source = "1,797 scikit-learn digits; images real, 8-NN graph built; 5 labels per class"
    note = f"{source}; {_seeds(result)}.\nTeacher: three-layer GAT, {_cost(teacher)}."
    note += " Small dots: seeds. Large dots and bars: mean ± standard deviation."
    figure.text(0.02, 0.13 * inch, note, size=9, color=GREY, linespacing=1.5)
    figure.tight_layout(rect=(0.01, 0.5 * inch, 0.99, 1 - 0.45 * inch), w_pad=3)
    figure.savefig(path)


def _seeds(result: dict[str, Any]) -> str:
    return f"{result['seeds']} seed{'s' if result['seeds'] > 1 else ''}"


def _cost(model: dict[str, Any]) -> str:
    return f"{model['parameters']:,} parameters, {model['milliseconds']:.2g} ms"


def _panel(ax: Axes, student: dict[str, Any], teacher: float) -> None:
    methods = student["methods"]
    none = methods["none"]["test"]["mean"]
    outward = ("right", "left") if none <= teacher else ("left", "right")
    lines = ("no distillation", none, outward[0]), ("teacher", teacher, outward[1])
    for label, x, align in lines:
        ax.axvline(x, color=GREY, linestyle="--", linewidth=1.2, zorder=0)
        ax.annotate(
            f"{label} {x:.1f}", (x, 1), (0, 6), xycoords=("data", "axes fraction"),
            textcoords="offset points", ha=align, size=10, color=GREY,
        )  # fmt: skip
    for y, (key, method) in enumerate(methods.items()):
        color = GREY if key == "none" else ORANGE if "+" in key else BLUE
        test, style = method["test"], {"color": color, "markeredgewidth": 0}
        heights = [y + 0.24] * len(test["seeds"])
        ax.plot(test["seeds"], heights, "o", markersize=4, alpha=0.4, **style)
        ax.errorbar(test["mean"], y, xerr=test["std"], fmt="o", markersize=9, lw=2.2, **style)
        ax.annotate(
            show(test), (1.02, y), xycoords=("axes fraction", "data"), va="center_baseline",
            size=11, color=color, annotation_clip=False,
        )  # fmt: skip
    ax.set_yticks(range(len(methods)), [method["label"] for method in methods.values()], size=12)
    ax.set_ylim(len(methods) - 0.4, -0.6)
    ax.margins(x=0.08)
    ax.grid(axis="y", color="#e5e7eb", linewidth=0.8)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.set_axisbelow(True)
