"""The section on speed and memory: targets, curves, small sizes, and where we are slower."""

import math
from collections.abc import Iterable

from _tables import Result, image, joined, prose, read, table

BUDGET_GIB = 24
TITLES = {
    "gcrd": "G-CRD, gradient to the student",
    "gcrd_both": "G-CRD, both sides learn",
    "gcrd_symmetric": "G-CRD, symmetric",
    "global_lsp_cosine": "Global LSP, cosine",
    "global_lsp_poly": "Global LSP, poly",
    "global_lsp_rbf": "Global LSP, rbf",
    "global_lsp_l2": "Global LSP, l2",
    "lsp_cosine": "LSP, cosine, on power-law graphs",
}
DEVICES = {"cpu": "on a CPU", "cuda": "on a GPU"}


def number(x: float) -> str:
    """Three digits, however large."""
    return f"{x:,.{max(0, 2 - math.floor(math.log10(x)))}f}" if x > 0 else "0"


def milliseconds(row: Result) -> str:
    return f"{number(1e3 * row['seconds']['median'])} ms"


def mebibytes(row: Result) -> str:
    return f"{number(row['peak_mib'])} MiB" if "peak_mib" in row else ""


def ratio(row: Result, key: str = "over_ours") -> str:
    three = row[key]
    return f"{number(three['median'])} ({number(three['low'])}–{number(three['high'])})"


def percent(x: float) -> str:
    return f"{100 * x:.2g} %" if x < 0.095 else f"{100 * x:.0f} %"


def size(case: Result) -> str:
    edges = f", E = {case['edges']:,}" if case["edges"] else ""
    return f"N = {case['n']:,}{edges}, d = {case['d']}"


def curves(result: Result) -> dict[str, list[Result]]:
    return {name: result["sections"][name] for name in TITLES if name in result["sections"]}


def naive_limit(cases: Iterable[Result]) -> tuple[float, str] | None:
    """The N (or E) at which naive fills 24 GiB, from its memory at the largest measured size."""
    measured = [case for case in cases if "peak_mib" in case["contenders"].get("naive", {})]
    if not measured:
        return None
    case = max(measured, key=lambda case: (case["edges"], case["n"]))
    peak, room = case["contenders"]["naive"]["peak_mib"] * 2**20, BUDGET_GIB * 2**30
    if case["edges"]:
        held = peak / (4 * case["edges"] * case["d"])
        return room / (4 * held * case["d"]), f"{held:.1f} tables of E × d"
    held = peak / (4 * case["n"] ** 2)
    return math.sqrt(room / (4 * held)), f"{held:.1f} matrices of N × N"


def reached(case: Result) -> list[tuple[str, str, bool, str]]:
    """For each target of a case: its quantity, the target, whether it was met, the measurement."""
    rows, target = case["contenders"], case["target"]
    ours, naive = rows["ours"], rows.get("naive", {})
    found = []
    if "speed" in target and naive:
        times = naive["over_ours"]["median"]
        met = times >= target["speed"]
        found.append(("speed", f"≥ {target['speed']:g}×", met, f"{number(times)}×"))
    if "memory" in target and "peak_mib" in naive:
        part = ours["peak_mib"] / naive["peak_mib"]
        met = part <= target["memory"]
        found.append(("memory", f"≤ {percent(target['memory'])} of naive", met, percent(part)))
    if "extra_mib" in target:
        extra = ours["peak_mib"] - case["gradient_mib"]
        met, limit = extra <= target["extra_mib"], f"≤ gradient + {target['extra_mib']:g} MiB"
        found.append(("memory", limit, met, f"gradient + {extra:.0f} MiB"))
    if "peak" in target:
        part = ours["of_peak"]["median"]
        met, limit = part >= target["peak"], f"≥ {percent(target['peak'])} of GEMM"
        found.append(("peak", limit, met, percent(part)))
    return found


def targets(result: Result) -> str:
    rows = []
    for name, cases in curves(result).items():
        for case in cases:
            for _, target, met, got in reached(case):
                where = f"{TITLES[name].removesuffix(', on power-law graphs')}, {size(case)}"
                rows.append([where, target, got, "yes" if met else "**no**"])
    return table(["case", "target", "reached", "met"], rows) if rows else ""


def _curve(cases: list[Result], device: str, name: str) -> str:
    others = list(dict.fromkeys(c for case in cases for c in case["contenders"] if c != "ours"))
    forms = ["ours", *(o for o in others if o.startswith("naive"))]
    bound = "copy" if any("copy" in case["peaks"] for case in cases) else "GEMM"
    times, memory = [], []
    for case in cases:
        found, label = case["contenders"], size(case).replace(" ", "\u00a0")
        times.append(
            [label, milliseconds(found["ours"]),
             *(ratio(found[o]) if o in found else "" for o in others),
             percent(found["ours"]["of_peak"]["median"])]
        )  # fmt: skip
        memory.append([label, *(mebibytes(found.get(form, {})) for form in forms)])
    tables = (
        table(["time", "ours", *others, f"ours, of {bound} peak"], times),
        table(["memory", *forms], memory),
    )
    limit = naive_limit(cases)
    notes = [f"The peak counts {cases[0]['counted']}."]
    if any(row["contenders"]["ours"]["of_peak"]["median"] > 1 for row in cases):
        notes.append("We visit each pair once, which is how more than the peak can be reached.")
    if limit:
        letter = "E" if cases[0]["edges"] else "N"
        notes.append(
            f"Naive holds {limit[1]} at once: {BUDGET_GIB} GiB are full at {letter} = "
            f"{int(limit[0]):,}."
        )
    if "graph_seconds" in cases[-1]:
        built = number(1e3 * cases[-1]["graph_seconds"]["median"])
        notes.append(f"Building the `Graph`, once, took {built} ms at the largest size.")
    skipped = dict(pair for case in cases for pair in case["skipped"].items())
    notes += [f"Not run: {name} ({reason})." for name, reason in skipped.items()]
    figure = image(f"_static/bench_{name}_{device}.svg", f"Time and memory of {TITLES[name]}")
    return joined(f"#### {TITLES[name]}", *tables, prose(" ".join(notes)), figure)


def _linear(result: Result) -> str:
    rows = []
    for name, cases in curves(result).items():
        width = cases[0]["d"]
        last = [case for case in cases if case["d"] == width][-3:]
        count = "edges" if last[0]["edges"] else "n"
        sizes = [case[count] for case in last]
        peaks = [case["contenders"]["ours"]["peak_mib"] for case in last]
        if len(last) < 3:
            continue
        power = math.log(peaks[-1] / peaks[0]) / math.log(sizes[-1] / sizes[0])
        letter = "E" if count == "edges" else "N"
        cells = [f"{letter} = {n:,}: {number(p)} MiB" for n, p in zip(sizes, peaks, strict=True)]
        rows.append([TITLES[name], *cells, f"{letter}^{power:.2f}"])
    if not rows:
        return ""
    text = """Our peak at the three largest sizes, gradient included, and the power that the memory
    grows by between the first and the last. Linear is a power of 1, less where a workspace of
    constant size is the larger part."""
    header = ["loss", "small", "middle", "large", "growth"]
    return joined("### Memory grows linearly", prose(text), table(header, rows))


def _small(result: Result) -> str:
    cases = result["sections"].get("small", [])
    if not cases:
        return ""
    sizes = sorted({case["n"] for case in cases})
    rows: dict[str, dict[int, str]] = {}
    for case in cases:
        row = case["contenders"].get("naive")
        if row:
            bold = "**" if row["over_ours"]["median"] < 1 / 1.1 else ""
            rows.setdefault(case["label"], {})[case["n"]] = f"{bold}{ratio(row)}{bold}"
    first = cases[0]
    text = f"""Naive's time over ours, wall time, {first["threads"]} threads, d = {first["d"]};
    LSP with E = 10 N. In bold: we take more than 10 % longer."""
    body = [[label, *(found.get(n, "") for n in sizes)] for label, found in rows.items()]
    header = ["loss", *(f"N = {n:,}" for n in sizes)]
    return joined("### Small sizes", prose(text), table(header, body))


def _logits(result: Result) -> str:
    cases = result["sections"].get("kd", [])
    if not cases:
        return ""
    sizes = sorted({case["n"] for case in cases})
    rows: dict[tuple[str, int], dict[int, str]] = {}
    for case in cases:
        naive = case["contenders"]["naive"]
        bold = "" if all(met for _, _, met, _ in reached(case)) else "**"
        found = rows.setdefault((case["label"], case["d"]), {})
        found[case["n"]] = f"{bold}{ratio(naive)}{bold}"
    text = """Naive's time over ours, process time, one thread, by rows and classes. The target is
    0.7 at 256 rows and 0.9 from 1,024 rows on. In bold: missed."""
    body = [[label, f"{d}", *(found[n] for n in sizes)] for (label, d), found in rows.items()]
    header = ["loss", "classes", *(f"N = {n:,}" for n in sizes)]
    return joined("### Soft targets", prose(text), table(header, body))


def _slower(result: Result) -> str:
    rows = []
    for cases in result["sections"].values():
        for case in cases:
            for name, row in case["contenders"].items():
                three = row["over_ours"]
                if not name.startswith("ours") and three["median"] < 1:
                    clock = f"{case['threads']} threads" if case["wall"] else "1 thread"
                    rows.append((three["median"], [f"{case['label']}, {size(case)}, {clock}", name,
                                 ratio(row)]))  # fmt: skip
    title = "### Where we are slower"
    if not rows:
        return joined(title, "In no case of this run.")
    rows.sort(key=lambda row: row[0])
    much = sum(time < 1 / 1.1 for time, _ in rows)
    total = sum(not name.startswith("ours") for cases in result["sections"].values()
                for case in cases for name in case["contenders"])  # fmt: skip
    text = f"""Every comparison of this run, of {total}, in which another form took less time than
    ours: {len(rows)}, of which {much} by more than 10 %."""
    header = ["case", "faster form", "its time over ours"]
    return joined(title, prose(text), table(header, [row for _, row in rows]))


def speed_section() -> str:
    found = [(device, result) for device in DEVICES if (result := read(f"speed_{device}"))]
    return joined(*(_of_one(device, result) for device, result in found))


def _of_one(device: str, result: Result) -> str:
    machine, versions = result["machine"], result["versions"]
    clock = (
        "process time, one thread; memory is the rise of a fresh process's peak resident size"
        if device == "cpu"
        else "GPU time between events; memory is the rise of the peak that torch allocated"
    )
    listed = ", ".join(f"{name} {v}" for name, v in versions.items() if v)
    rows = [row for cases in result["sections"].values() for case in cases
            for row in case["contenders"].values()]  # fmt: skip
    worst = max((row["difference"] for row in rows), default=0.0)
    intro = f"""`python benchmarks/speed.py`{", in its quick form" if result["quick"] else ""}:
    forward and backward, float32, {clock}, gradient included. The contenders take turns, and a
    ratio is that of the times in one turn: median and, in brackets, quartiles. **Ratios are
    another's time over ours: above 1, ours is faster.** Read those, and not the times, which
    belong to this machine: {machine.get("gpu") or machine["processor"]}, {machine["cores"]} cores,
    {machine["memory_gib"]:.0f} GiB ({listed}). Peaks (of a 2,048² matrix product, of a copy of 64
    MiB) are measured in the same turns. All contenders' values agree to within {worst:.0e}."""
    listing = targets(result)
    missed = listing.count("**no**")
    summary = f"{listing.count('| yes |')} met, {missed} missed." if listing else ""
    return joined(
        f"## Speed and memory {DEVICES[device]}",
        prose(intro),
        joined("### Targets", summary, listing) if listing else "",
        "### Against N and E",
        *(_curve(cases, device, name) for name, cases in curves(result).items()),
        _linear(result),
        _logits(result),
        _small(result),
        _slower(result),
    )
