"""Renders the JSON under benchmarks/results as docs/results.md and the marked blocks of README.

python benchmarks/report.py           # write
python benchmarks/report.py --check   # fail if what is written is not what the JSON says
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
README, PAGE = ROOT / "README.md", ROOT / "docs" / "results.md"
LABELS = {
    "kd": "KD",
    "fitnet": "FitNet",
    "at": "attention transfer",
    "lsp": "LSP",
    "glsp": "Global LSP",
    "gcrd": "G-CRD",
}


def read(name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((HERE / "results" / f"{name}.json").read_text())
    return result


def table(header: list[str], rows: list[list[str]]) -> str:
    align = ["---", *("--:" for _ in header[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, align, *rows))


def show(value: dict[str, Any], sign: str = "") -> str:
    mean = round(value["mean"], 1) + 0.0  # no negative zero
    return f"{mean:{sign}.1f} ± {value['std']:.1f}"


def models(result: dict[str, Any]) -> str:
    teacher = result["teacher"]
    rows = [["GAT (teacher)", f"{teacher['parameters']:,}", f"{teacher['milliseconds']:.2g} ms",
             show(teacher["test"]), ""]]  # fmt: skip
    for name, student in result["students"].items():
        methods = student["methods"]
        rows.append([f"{name} (student)", f"{student['parameters']:,}",
                     f"{student['milliseconds']:.2g} ms", show(methods["none"]["test"]),
                     show(methods["kd"]["test"])])  # fmt: skip
    return table(["model", "parameters", "inference", "alone, %", "with KD, %"], rows)


def methods(result: dict[str, Any]) -> str:
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


def footprint(result: dict[str, Any]) -> str:
    rows = []
    for name, row in result["losses"].items():
        loss, _, kernel = name.partition(" ")
        label = f"{LABELS[loss]}, {kernel}" if kernel else LABELS[loss]
        rows.append([label, f"{row['seconds']:.1f} s", f"{row['peak_mib']:,.0f} MiB"])
    return table(["loss", "time", "peak memory"], rows)


def balancing(result: dict[str, Any]) -> str:
    rows = [
        [LABELS[name], f"{row['pull']:.1e}", f"{row['tuned_weight']:g}",
         *(show(row[way]) for way in ("tuned", "one", "balanced"))]
        for name, row in result["losses"].items()
    ]  # fmt: skip
    header = ["loss", "pull against the task", "tuned weight", "tuned, %", "weight 1, %"]
    return table([*header, "weight 1, balanced, %"], rows)


def page() -> str:
    demo, size, balance = read("quickstart"), read("footprint"), read("balancing")
    sizes, seeds = size["sizes"], demo["seeds"]
    return f"""<!-- Written by benchmarks/report.py from benchmarks/results/*.json. -->

# Results

What the commands in the repository measured. Times on a CPU depend on the machine and on what
else it
does; read them against one another.

## Distilling the digits

`python examples/quickstart.py --full`: the 1,797 handwritten digits of scikit-learn. The images
are
real; the graph is built, each image joined to its 8 nearest. Five labels per class, {seeds}
seeds, one
teacher per seed, distilled on all nodes. Weights and epochs are chosen on validation nodes;
these are
accuracies on test nodes, mean ± standard deviation over the seeds. Differences are taken seed by
seed,
with the same split, teacher and initial student.

{models(demo)}

{methods(demo)}

```{{image}} _static/quickstart.png
:alt: Accuracy of the students by distillation method
:width: 100%
```

## Balancing

`python benchmarks/balancing.py`: one loss at a time into the MLP, {balance["seeds"]} seeds.
*Pull* is the
norm of the loss's gradient at the student's embeddings over that of the task's. The three pulls,
and the
tuned weights, lie orders of magnitude apart; with `WeightedSum(balance=True)` all three take a
weight
of 1.

{balancing(balance)}

## Footprint

`python benchmarks/footprint.py`: forward and backward on {sizes["nodes"]:,} nodes,
{sizes["width"]} wide,
{sizes["edges"]:,} edges, {sizes["classes"]} classes, on {size["machine"]["threads"]} threads.
One N × N
matrix would take {size["dense_matrix_mib"]:,.0f} MiB, and the gradient itself is
{size["gradient_mib"]:.0f} MiB. The losses over all pairs with `poly` and `rbf`, and G-CRD, are
quadratic in
time: here they are slow, not large.

{footprint(size)}

`import graphkd` takes {size["import_ms"]["graphkd"]:.0f} ms beyond the
{size["import_ms"]["torch"]:,.0f} ms of
`import torch`.
"""


def readme() -> str:
    text, demo = README.read_text(), read("quickstart")
    blocks = {
        "results": models(demo) + "\n\n" + methods(demo),
        "footprint": footprint(read("footprint")),
    }
    for name, block in blocks.items():
        marked = re.compile(rf"<!-- {name} -->.*?<!-- end -->", re.DOTALL)
        text = marked.sub(lambda _, n=name, b=block: f"<!-- {n} -->\n{b}\n<!-- end -->", text)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    for path, text in {PAGE: page(), README: readme()}.items():
        if args.check and path.read_text() != text:
            sys.exit(f"{path.name} is not what the results say. Run python benchmarks/report.py.")
        path.write_text(text)


if __name__ == "__main__":
    main()
