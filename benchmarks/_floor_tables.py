"""The sections on floors: is a loss slower than plain torch, than before, or than compiled?"""

from collections.abc import Iterable

from _tables import Result, joined, prose, read, table


def floor_section() -> str:
    result = read("floors")
    if result is None:
        return ""
    found = result["floors"]
    missed = sum(not row["reached"] for row in found)
    text = f"""`python benchmarks/floors.py`: the time of the plain form over ours, forward and
    backward, one thread, process time, turn by turn. From 1,024 rows up it must be 0.9 or more, at
    256 rows 0.7; the other losses of the family are held to 0.9 at the size given. Each entry is
    the lowest median over the widths {_listed(row["d"] for row in found)}.
    {len(found) - missed} of {len(found)} cases reach their floor; an entry with one that does not
    is bold."""
    sizes = sorted({row["n"] for row in found})
    labels = list(dict.fromkeys(row["label"] for row in found))
    rows = [[label, *(_cell(found, label, n) for n in sizes)] for label in labels]
    header = ["loss", *(f"N = {n:,}" for n in sizes)]
    return joined("## No slower than plain torch", prose(text), table(header, rows))


def change_section() -> str:
    result = read("before_after")
    if result is None:
        return ""
    found = result["cases"]
    text = f"""`python benchmarks/before_after.py ../before`: the time of this version over that of
    commit {result["before"]}, which had no weights and no temperatures that learn, where none is
    given. Forward and backward, width 128, one thread, process time, turn by turn; medians. The
    machine is shared, and a tenth is noise."""
    sizes = sorted({row["n"] for row in found})
    rows = [
        [label, *(f"{r['ratio']['median']:.2f}" for r in found if r["label"] == label)]
        for label in dict.fromkeys(row["label"] for row in found)
    ]
    header = ["loss", *(f"N = {n:,}" for n in sizes)]
    return joined("## No slower than before", prose(text), table(header, rows))


def compiled_section() -> str:
    result = read("compiled")
    if result is None:
        return ""
    found = result["steps"]
    text = f"""`python benchmarks/compiled.py`: the time of a step as it is over that of the same
    step under `torch.compile(dynamic=True)`, forward and backward in float32, width 64, one thread,
    process time, turn by turn; medians, torch {result["versions"]["torch"].partition("+")[0]}.
    Bold: compiling made it slower in three turns of four or more. A step of a student has its
    forward pass, KD beside the loss named, the backward pass and Adam. The first step, which
    compiles, took up to {max(row["first"] for row in found):.0f} s (wall time)."""
    sizes = sorted({row["n"] for row in found})
    rows = []
    for label in dict.fromkeys(row["label"] for row in found):
        speeds = {r["n"]: r["speed"] for r in found if r["label"] == label}
        rows.append([label, *(_gained(speeds.get(n)) for n in sizes)])
    header = ["step", *(f"N = {n:,}" for n in sizes)]
    return joined("## Compiled, on a CPU", prose(text), table(header, rows))


def _gained(speed: Result | None) -> str:
    if speed is None:
        return ""
    return f"**{speed['median']:.2f}**" if speed["high"] < 1 else f"{speed['median']:.2f}"


def _listed(values: Iterable[int]) -> str:
    *most, last = map(str, sorted(set(values)))
    return f"{', '.join(most)} and {last}" if most else last


def _cell(found: list[Result], label: str, n: int) -> str:
    here = [row for row in found if (row["label"], row["n"]) == (label, n)]
    if not here:
        return ""
    least = f"{min(row['speed']['median'] for row in here):.2f}"
    return least if all(row["reached"] for row in here) else f"**{least}**"
