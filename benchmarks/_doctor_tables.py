"""The section of the results page on the doctor: its alarms on the examples, and its cost."""

from collections import Counter

from _tables import joined, prose, read, table


def doctor_section() -> str:
    """The alarms on every example, by code, and the time of a step with and without."""
    result = read("doctor")
    if not result:
        return ""
    rows, alarms = [], []
    for name, found in result["examples"].items():
        codes = Counter(alarm["code"] for alarm in found["alarms"])
        said = ", ".join(f"{code} ({count})" for code, count in codes.items()) or "none"
        rows.append([f"`{name}`", str(found["runs"]), said])
        alarms += [(name, alarm) for alarm in found["alarms"]]
    runs = sum(found["runs"] for found in result["examples"].values())
    told = len({(name, alarm["run"]) for name, alarm in alarms})
    intro = f"""`python benchmarks/doctor.py` runs the examples with `--doctor`, `every=10`, at
    {result["seeds"]} seeds. Told of something: {told} of {runs} students."""
    listed = [
        f"- `{name}`, {alarm['run']}, **{alarm['code']}**: {alarm['message']}"
        for name, alarm in alarms
    ]
    cost = [
        [method, *(f"{100 * (result['cost'][every][method] - 1):.1f} %" for every in ("1", "10"))]
        for method in result["cost"]["1"]
    ]
    return joined(
        "## The doctor",
        prose(intro),
        table(["example", "students", "findings"], rows),
        "\n".join(listed),
        prose(
            """What it adds to a step of the quickstart (MLP student, one thread): medians of the
            processor time of blocks of 20 steps with and without it, in turns."""
        ),
        table(["loss", "`every=1`", "`every=10`"], cost),
    )
