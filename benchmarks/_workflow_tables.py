"""The sections on workflows: keys, positives, the store; recipes."""

from statistics import mean, stdev

from _tables import Result, joined, prose, read, show, table


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


def drawn_section() -> str:
    result = read("drawn_negatives")
    if result is None:
        return ""
    sizes, flags, million = result["sizes"], result["flags"], result["million"]
    intro = f"""`python benchmarks/drawn_negatives.py`: `num_negatives=K` against the exact loss, on
    the projected rows ({sizes["rows"]:,} of width {sizes["width"]}) of a GCN and an MLP on
    {flags["dataset"]}, before the first and after the last of {flags["epochs"]} steps of
    distillation with K = 1,024; {flags["draws"]} draws for each K. *Bias* is the mean value over
    the draws less the exact value; below the deviation over √{flags["draws"]} it is noise.
    *Gradient* is the root mean square of the gradient's
    distance from the exact one, over the exact one's norm. Forward and backward to the student's
    rows, process time on one thread."""
    parts = []
    for name, stage in result["stages"].items():
        rows = [["all", f"{stage['exact']:.4f}", "", "", f"{stage['seconds']:.2f} s"]]
        rows += [
            [f"{int(keys):,}", f"{row['bias']:+.4f}", f"{row['std']:.4f}",
             f"{100 * row['gradient_error']:.1f} %", f"{row['seconds']:.2f} s"]
            for keys, row in stage["keys"].items()
        ]  # fmt: skip
        header = [f"K, {name} distillation", "value, or bias", "deviation", "gradient", "time"]
        parts.append(table(header, rows))
    large = "; ".join(
        f"K = {int(keys):,}: {row['seconds']:.0f} s and {row['peak_mib'] / 1024:.1f} GiB"
        for keys, row in million.items()
    )
    outro = f"""One step with {sizes["million"]:,} rows, both sides learning: {large} beyond the
    inputs, their gradients included."""
    title = "## A few negatives for all rows"
    return joined(title, prose(intro), *parts, prose(outro))


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


def _spread(values: list[float]) -> Result:
    return {"mean": mean(values), "std": stdev(values)}


def recipe_table(result: Result) -> str:
    """Each recipe beside the same student without distillation, and which of them do harm."""
    rows, harmful = [], []
    for name, by_seed in result["recipes"].items():
        runs = [by_seed[seed] for seed in sorted(by_seed, key=int)]
        gain = _spread([run["with"] - run["without"] for run in runs])
        sides = [_spread([run[side] for run in runs]) for side in ("without", "with")]
        rows.append([name, *map(show, sides), show(gain, "+")])
        if gain["mean"] < -2 * gain["std"]:
            harmful.append(name)
    seeds = {len(by_seed) for by_seed in result["recipes"].values()}
    verdict = (
        f"""Worse by more than two standard deviations of the difference: {", ".join(harmful)}."""
        if harmful
        else "No student is worse than without distillation by more than two standard deviations."
    )
    text = f"""`python benchmarks/recipes.py` runs the blocks of this page at {max(seeds)} seeds
    with {result["epochs"]} epochs. Test accuracy in per cent, for LLP the area under the ROC curve
    of held-out links; mean ± standard deviation. *Without* is the same kind of student, which
    learns from the labels alone; differences are taken seed by seed, on the same split.
    {verdict}"""
    return joined(table(["recipe", "without", "with", "difference"], rows), prose(text))
