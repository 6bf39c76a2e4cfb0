"""The results page: what its sections share, and those on the demo, balancing and the footprint."""

import json
import textwrap
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
LABELS = {
    "kd": "KD",
    "fitnet": "FitNet",
    "at": "attention transfer",
    "lsp": "LSP",
    "glsp": "Global LSP",
    "gcrd": "G-CRD",
}

Result = dict[str, Any]


def read(name: str) -> Result | None:
    """A result, or None if that benchmark was not run."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def table(header: list[str], rows: list[list[str]]) -> str:
    align = ["---", *("--:" for _ in header[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, align, *rows))


def prose(text: str) -> str:
    """A paragraph, wrapped after its numbers are filled in."""
    words = " ".join(text.split())
    return textwrap.fill(words, 100, break_long_words=False, break_on_hyphens=False)


def joined(*parts: str) -> str:
    """The parts that are not empty, a blank line between them."""
    return "\n\n".join(part for part in parts if part)


def image(path: str, alternative: str) -> str:
    return f"```{{image}} {path}\n:alt: {alternative}\n:width: 100%\n```"


def show(value: Result, sign: str = "") -> str:
    mean = round(value["mean"], 1) + 0.0  # no negative zero
    return f"{mean:{sign}.1f} ± {value['std']:.1f}"


def models(result: Result) -> str:
    teacher = result["teacher"]
    rows = [["GAT (teacher)", f"{teacher['parameters']:,}", f"{teacher['milliseconds']:.2g} ms",
             show(teacher["test"]), ""]]  # fmt: skip
    for name, student in result["students"].items():
        methods = student["methods"]
        rows.append([f"{name} (student)", f"{student['parameters']:,}",
                     f"{student['milliseconds']:.2g} ms", show(methods["none"]["test"]),
                     show(methods["kd"]["test"])])  # fmt: skip
    return table(["model", "parameters", "inference", "alone, %", "with KD, %"], rows)


def methods(result: Result) -> str:
    students = result["students"]
    header = ["method"]
    for name in students:
        header += [f"{name}, %", "against none", "against KD"]
    rows = []
    for key, first in next(iter(students.values()))["methods"].items():
        row = [first["label"]]
        for student in students.values():
            method = student["methods"][key]
            row += [
                show(method["test"]),
                "" if key == "none" else show(method["minus_none"], "+"),
                "" if key == "kd" else show(method["minus_kd"], "+"),
            ]
        rows.append(row)
    return table(header, rows)


def chosen_settings(result: Result) -> str:
    """The weight and temperature of each method, by student."""
    students = result["students"]
    names = next(iter(students.values()))["settings"]
    rows = [
        [
            next(iter(students.values()))["methods"][name]["label"],
            *("@".join(f"{x:g}" for x in one["settings"][name] if x) for one in students.values()),
        ]
        for name in names
        if name in next(iter(students.values()))["methods"]
    ]
    return table(["method", *students], rows)


def demo_section() -> str:
    result = read("quickstart")
    if result is None:
        return ""
    return joined(
        "## Distilling the digits",
        prose(
            f"""`python examples/quickstart.py --full`: the 1,797 handwritten digits of
            scikit-learn. The images are real; the graph is built, each image joined to its 8
            nearest. Five labels per class, {result["seeds"]} seeds, one teacher per seed, distilled
            on all nodes. Validation nodes choose the epochs and, of twelve settings for each
            method, the weight and the temperature of KD and G-CRD; these are accuracies on test
            nodes, mean ± standard deviation over the seeds. Differences are taken seed by seed,
            with the same split, teacher and initial student."""
        ),
        models(result),
        methods(result),
        prose(
            """The settings that were chosen: the weight and, after @, the temperature. Beside KD,
            the setting is that of the other loss, and KD keeps its own."""
        ),
        chosen_settings(result),
        image("_static/quickstart.png", "Accuracy of the students by distillation method"),
        prose(
            """Another CPU rounds otherwise, and a single seed may then end up to two points away
            (the GCN with KD, seed 0: 94.2 here, 92.4 on another one); means carry over, digits do
            not. One small data set whose graph is made of its own features says little about
            yours: [the study](study.md) has others, and tunes everybody alike."""
        ),
    )


def balancing_section() -> str:
    result = read("balancing")
    if result is None:
        return ""
    header = ["loss", "pull against the task", "tuned weight", "tuned, %", "weight 1, %",
              "weight 1, balanced, %"]  # fmt: skip
    rows = [
        [LABELS[name], f"{row['pull']:.1e}", f"{row['tuned_weight']:g}",
         *(show(row[way]) for way in ("tuned", "one", "balanced"))]
        for name, row in result["losses"].items()
    ]  # fmt: skip
    return joined(
        "## Balancing",
        prose(
            f"""`python benchmarks/balancing.py`: one loss at a time into the MLP, {result["seeds"]}
            seeds. *Pull* is the norm of the loss's gradient at the student's embeddings over that
            of the task's. The three pulls, and the tuned weights, lie orders of magnitude apart;
            with `WeightedSum(balance=True)` all three take a weight of 1. G-CRD has the
            demo's temperature."""
        ),
        table(header, rows),
    )


def footprint(result: Result) -> str:
    rows = []
    for name, row in result["losses"].items():
        loss, _, kernel = name.partition(" ")
        label = f"{LABELS[loss]}, {kernel}" if kernel else LABELS[loss]
        rows.append([label, f"{row['seconds']:.1f} s", f"{row['peak_mib']:,.0f} MiB"])
    return table(["loss", "time", "peak memory"], rows)


def footprint_section() -> str:
    result = read("footprint")
    if result is None:
        return ""
    sizes, imports = result["sizes"], result["import_ms"]
    return joined(
        "## Footprint",
        prose(
            f"""`python benchmarks/footprint.py`: forward and backward on {sizes["nodes"]:,} nodes,
            {sizes["width"]} wide, {sizes["edges"]:,} edges, {sizes["classes"]} classes, on
            {result["machine"]["threads"]} threads. One N × N matrix would take
            {result["dense_matrix_mib"]:,.0f} MiB, and the gradient itself is
            {result["gradient_mib"]:.0f} MiB. The losses over all pairs with `poly` and `rbf`, and
            G-CRD, are quadratic in time: here they are slow, not large."""
        ),
        footprint(result),
        prose(
            f"""`import graphkd` takes {imports["graphkd"]:.0f} ms beyond the
            {imports["torch"]:,.0f} ms of `import torch`."""
        ),
    )
