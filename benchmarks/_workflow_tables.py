"""The sections on what workflows cost: a queue of keys, several positives, the teacher store."""

from _tables import Result, joined, prose, read, table


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:,.0f} ms"


def negatives_section() -> str:
    result = read("negatives")
    if result is None:
        return ""
    sizes, sections = result["sizes"], result["sections"]
    intro = f"""`python benchmarks/negatives.py`: forward and backward, d = {sizes["width"]},
    process
    time on one thread; ratios are taken turn by turn, memory is the rise of a fresh process's peak,
    gradient included."""
    queue = f"""A batch of {sizes["batch"]:,} rows, both heads learning, with a full queue of
    {sizes["queue"]:,} keys. *Keys at hand* is the same loss with as many `extra_keys=`: what the
    keys cost in any case. *Naive* is the whole matrix of logits in plain PyTorch."""
    positives = f"""All {sizes["nodes"]:,} rows, the gradient to the student: {sizes["labels"]}
    labels, or {sizes["pairs"]:,} pairs, beside the plain loss. *Naive* masks the matrix of
    logits."""
    return joined(
        "## A queue of keys, and several positives",
        prose(intro),
        prose(queue),
        _forms(sections["queue"], "over keys at hand"),
        prose(positives),
        _forms(sections["positives"], "over plain"),
    )


def _forms(rows: Result, ratio: str) -> str:
    cells = [
        [name, _milliseconds(row["seconds"]["median"]), f"{row['over_base']['median']:.2f}",
         f"{row['peak_mib']:,.0f} MiB"]
        for name, row in rows.items()
    ]  # fmt: skip
    return table(["form", "time", ratio, "peak memory"], cells)


def store_section() -> str:
    result = read("store")
    if result is None:
        return ""
    sizes, epoch = result["sizes"], result["epoch"]
    intro = f"""`python benchmarks/store.py`: {sizes["nodes"]:,} nodes, h of width {sizes["h"]} and
    {sizes["z"]} logits in {sizes["dtype"]} ({sizes["mib"]:.0f} MiB), one thread, process time but
    for cold reads, which are wall time. The graph is generated: a ring, each node joined to ten
    within a thousand places of it. Batches are the exact {sizes["layers"]}-hop neighbourhoods of
    {sizes["batch"]:,} seeds, {sizes["nodes_per_batch"]:,.0f} nodes each."""
    build = [
        [name, f"{row['rows_per_second']:,.0f}", f"{row['mib_per_second']:,.0f}"]
        for name, row in result["build"].items()
    ]
    reads = [
        [name, f"{row['microseconds']['median']:,.0f} µs", f"{row['mib_per_second']:,.0f}"]
        for name, row in result["read"].items()
    ]
    epochs = [[name, f"{row['median']:.2f} s"] for name, row in epoch["seconds"].items()]
    ratio = epoch["live_over_store"]
    return joined(
        "## The teacher store",
        prose(intro),
        table(["build", "rows a second", "MiB a second"], build),
        prose(
            f"""Reads of {sizes["batch"]:,} random rows. *Cold*: from the disk, blocks checked;
            *first*: from the page cache, blocks checked; *warm*: checked before."""
        ),
        table(["read", "time", "MiB a second"], reads),
        prose(
            f"""Training on {epoch["seeds"]:,} seeds with G-CRD and KD. The live teacher takes
            {ratio["median"]:.2f} times as long as the store (quartiles {ratio["low"]:.2f} to
            {ratio["high"]:.2f}). This depends on the teacher and the graph: with 1,500 nodes a
            batch it was 1.3. Both sample for the teacher's depth, which a student from the store
            need not."""
        ),
        table(["epoch", "time"], epochs),
    )
