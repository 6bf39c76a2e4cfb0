"""The section on accuracy: errors against float64, one table per kind of input and precision."""

from _tables import Result, joined, prose, read, table

INPUTS = {
    "independent": "Independent rows",
    "converged": "A student that has nearly converged",
    "rotated": "A student that is a rotated copy of its teacher",
    "biased": "Rows far from the origin (30 in every coordinate)",
}


def accuracy_section() -> str:
    parts = [_of_one(result) for name in ("accuracy", "accuracy_triton", "accuracy_cuda")
             if (result := read(name))]  # fmt: skip
    return joined("## Accuracy", _explained(), *parts) if parts else ""


def _explained() -> str:
    text = """`python benchmarks/accuracy.py`: the error against float64 of the value and of the
    gradient, each `value / gradient`, relative to its norm; root mean squares over seeds. Truth is
    computed from the same, already rounded, inputs. *Plain torch* is the naive form in the inputs'
    own precision; the backends compute in float32 at least. A bfloat16 gradient is rounded to
    bfloat16, which alone is an error of 2e-03. An error of 1e+00 means that no digit is right. The
    second column is the loss itself: the smaller, the more there is to lose. KD, FitNet and
    attention transfer have no backends; what they do stands under chunked. G-CRD's least value is
    set by its temperature: for the nearly converged student it is 0.03, in the other tables
    0.075."""
    return prose(text)


def _of_one(result: Result) -> str:
    sizes = result["sizes"]
    parts = [
        prose(
            f"""On {"the CPU" if result["device"] == "cpu" else result["device"]}{
                ", in triton's interpreter" if result["interpreted"] else ""
            }: N = {sizes["nodes"]}, d = {sizes["width"]}, {sizes["edges"]:,} edges, {
                sizes["seeds"]
            }
            seeds."""
        )
    ]
    for scenario, title in INPUTS.items():
        parts.append(f"### {title}{', interpreted' if result['interpreted'] else ''}")
        parts += [
            f"Inputs in {dtype}:\n\n{_errors(scenarios[scenario])}"
            for dtype, scenarios in result["errors"].items()
        ]
    return joined(*parts)


def _errors(rows: dict[str, Result]) -> str:
    """A table; a loss without backends has one form besides plain torch, shown under chunked."""
    ways = list(dict.fromkeys(w for row in rows.values() for w in row["errors"]))
    ways.remove("graphkd")
    body = []
    for row in rows.values():
        errors = row["errors"]
        if "graphkd" in errors:
            errors = {**errors, "chunked": errors["graphkd"]}
        body.append([row["label"], f"{row['truth']:.0e}", *(_pair(errors.get(w)) for w in ways)])
    return table(["loss", "value", *ways], body)


def _pair(errors: dict[str, float | None] | None) -> str:
    if errors is None:
        return ""
    return " / ".join("none" if e is None else f"{e:.0e}" for e in errors.values())
