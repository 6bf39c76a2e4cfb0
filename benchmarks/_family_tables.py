"""The sections on the losses beyond the paper's six: their effect on the digits, and their cost."""

from _tables import Result, image, joined, methods, models, prose, read, table


def family_demo_section() -> str:
    result = read("quickstart_family")
    if result is None:
        return ""
    students = result["students"]
    text = f"""`python examples/quickstart.py --losses all --seeds {result["seeds"]} --students
    {" ".join(students)}`: every loss alone, in the set-up above. The paper's six have the settings
    above, chosen from twelve; one seed's validation nodes chose the others' weights from four, a
    decade apart, at their default temperatures, and some lie at an edge. {_better(students)}
    One small data set: no ranking of methods. TINED, FSP
    and MuGSI were not made for this use; *two teachers* adds to KD a GraphSAGE as wide as the
    GAT."""
    return joined(
        "## Every loss on the digits",
        prose(text),
        models(result),
        methods(result),
        image("_static/quickstart_family.png", "Accuracy of the students with every loss alone"),
    )


def _better(students: Result) -> str:
    """The losses that beat KD in every seed."""
    parts = []
    for name, student in students.items():
        rows = [r for key, r in student["methods"].items() if key not in ("none", "kd")]
        ahead = [row["label"] for row in rows if min(row["minus_kd"]["seeds"]) > 0]
        parts.append(f"of the {name}: {', '.join(ahead) or 'none'}")
    return f"Ahead of KD in each seed, {'; '.join(parts)}."


def family_cost_section() -> str:
    result = read("family")
    if result is None:
        return ""
    sizes = result["sizes"]
    default = f"""`python benchmarks/family.py`: the functions, without heads, in their default
    form, forward and backward, on {sizes["nodes"]:,} nodes of width {sizes["width"]} (logits, too),
    one thread. One N × N matrix takes {4 * sizes["nodes"] ** 2 / 2**20:,.0f} MiB. RKD's angles are
    those of 512 sampled rows; VQGraph has 512 codes, LLP contexts of 12 nodes, MuGSI 100 clusters
    and one graph. `tests/test_memory.py` holds the Modules, with their heads and memories, below
    one GiB as well."""
    rows = [
        [name, f"{row['seconds']:.1f} s", f"{row['peak_mib']:,.0f} MiB"]
        for name, row in result["losses"].items()
    ]
    plain = """Against the plain form in PyTorch, which from SP on holds the N × N matrices (of
    angles, N × N × N): the ratio of process times, and the peak memory of either. Below 1× we are
    slower."""
    compared = [
        [name, f"{row['nodes']:,}", f"{row['speedup']['median']:.2f}×",
         f"{row['peak_mib']['graphkd']:,.0f} MiB", f"{row['peak_mib']['plain']:,.0f} MiB",
         f"{row['difference']:.0e}"]
        for name, row in result["plain"].items()
    ]  # fmt: skip
    header = ["loss", "N", "speed", "memory", "memory, plain", "relative difference"]
    return joined(
        "## What the other losses cost",
        prose(default),
        table(["loss", "time", "peak memory"], rows),
        prose(plain),
        table(header, compared),
    )
