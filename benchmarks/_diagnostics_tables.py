"""The section on the measures of graphkd.diagnostics."""

from _tables import joined, prose, read, table


def diagnostics_section() -> str:
    result = read("diagnostics")
    if result is None:
        return ""
    sizes = result["sizes"]
    measures = f"""`python benchmarks/diagnostics.py`: one call on {sizes["nodes"]:,} rows,
    {sizes["edges"]:,} edges, k = {sizes["k"]}, of float32 inputs; process time on one thread.
    Memory is the rise of a fresh process's peak, inputs not included. One N × N matrix in float64
    would take {result["dense_matrix_mib"]:,.0f} MiB."""
    rows = [
        [f"`{name}`"]
        + [text for row in by_width.values() for text in
           (f"{row['seconds']:.1f} s", f"{row['peak_mib']:,.0f} MiB")]
        for name, by_width in result["measures"].items()
    ]  # fmt: skip
    widths = next(iter(result["measures"].values()))
    header = ["measure", *(f"{what}, d = {d}" for d in widths for what in ("time", "memory"))]
    permutations = f"""A thousand permutations on {sizes["rows"]:,} rows, by student and teacher
    width; process time on one thread, so that two cores take about half."""
    tests = result["seconds_per_permutation"]
    pairs = list(next(iter(tests.values())))
    return joined(
        "## The measures",
        prose(measures),
        table(header, rows),
        prose(permutations),
        table(
            ["measure", *pairs],
            [[f"`{n}`", *(f"{1000 * s:.0f} s" for s in row.values())] for n, row in tests.items()],
        ),
    )
