"""The tables and the picture of docs/diagnostics/analysis.md."""

from pathlib import Path
from statistics import mean, stdev

from _tables import Result, joined, prose, read, table
from scipy.stats import spearmanr

NAMES = {
    "untrained": "before training", "none": "no distillation", "kd": "KD", "fitnet": "FitNet",
    "at": "AT", "lsp": "LSP", "glsp": "Global LSP", "gcrd": "G-CRD",
}  # fmt: skip
SIX = ("kd", "fitnet", "at", "lsp", "glsp", "gcrd")
# Column, key of the JSON, digits.
PRESERVED = [
    ("local", "local", 2),
    ("global", "global", 2),
    ("CKA", "cka", 2),
    ("agreement, %", "agreement", 1),
    ("accuracy, %", "accuracy", 1),
]
OTHERS = [
    ("local, z", "local_z", 0),
    ("global, z", "global_z", 0),
    ("CKA, z", "cka_z", 0),
    ("overlap", "overlap", 2),
    ("second order", "second_order", 3),
    ("disparity", "disparity", 2),
    ("zero rows", "zero_rows", 0),
]
MANY = 50  # of 1,797 rows
# What the paper finds, as the score, the methods that should have more of it, and those with less.
CLAIMS = [
    ("LSP is the most local of the six", ("local",), "lsp", SIX),
    ("Global LSP is the most global of the six", ("global",), "glsp", SIX),
    ("LSP is more local than no distillation", ("local",), "lsp", ("none",)),
    ("Global LSP is more global than no distillation", ("global",), "glsp", ("none",)),
    ("G-CRD is both more than no distillation", ("local", "global"), "gcrd", ("none",)),
    ("G-CRD is more local than Global LSP", ("local",), "gcrd", ("glsp",)),
    ("G-CRD is more global than LSP", ("global",), "gcrd", ("lsp",)),
]


def analysis_tables(result: Result) -> str:
    """For each student: what is preserved, and the same against chance and by other measures."""
    students = result["students"]
    teacher = _by_seed(next(iter(students.values()))["none"], "teacher")
    intro = f"""`python benchmarks/analysis.py`: {len(teacher)} seeds, {result["epochs"]} epochs,
    mean ± standard deviation. The teacher's accuracy is {_shown(teacher, 1)} %. *Local*, *global*
    and CKA are of all nodes, agreement and accuracy of test nodes."""
    chance = f"""The same students. *z* is the distance of a score from the mean of
    {result["permutations"]} random matchings of rows, in their standard deviations; the others are
    the neighbour overlap and the second-order cosine of 10 neighbours, and the Procrustes
    disparity, of which less is better. *Zero rows* are nodes at which no unit is active: their
    cosine to every other node is 0."""
    claims = f"""What the paper finds, and in how many of {len(teacher)} seeds it holds here:"""
    return joined(
        prose(intro),
        *(_rows(name, methods, PRESERVED) for name, methods in students.items()),
        prose(claims),
        table(["finding", *students], [_held(claim, students) for claim in CLAIMS]),
        prose(_ranks(students)),
        prose(chance),
        *(_rows(name, methods, OTHERS) for name, methods in students.items()),
        prose(_dead(students)),
    )


def draw_analysis(folder: Path) -> None:
    """Local against global preservation, a panel for each student."""
    result = read("analysis")
    if result is None:
        return
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from graphkd.diagnostics import plot_preservation

    # The same JSON gives the same file.
    with mpl.rc_context({"svg.hashsalt": "graphkd", "svg.fonttype": "none"}):
        figure = Figure(figsize=(10.5, 4.2), layout="constrained")
        panels = figure.subplots(1, len(result["students"]), squeeze=False)[0]
        for ax, (name, methods) in zip(panels, result["students"].items(), strict=True):
            scores = (
                {_label(method): _by_seed(runs, key) for method, runs in methods.items()}
                for key in ("local", "global")
            )
            plot_preservation(*scores, ax=ax).set_title(f"{name} student")
        for ax in panels[:-1]:  # one legend serves all
            ax.get_legend().remove()
        figure.savefig(folder / "analysis.svg", facecolor="white", metadata={"Date": None})


def _label(method: str) -> str:
    return " + ".join(NAMES[name] for name in method.split("+"))


def _by_seed(runs: Result, key: str) -> list[float]:
    return [runs[seed][key] for seed in sorted(runs, key=int)]


def _shown(values: list[float], digits: int) -> str:
    return f"{mean(values):,.{digits}f} ± {stdev(values):,.{digits}f}"


def _rows(student: str, methods: Result, columns: list[tuple[str, str, int]]) -> str:
    header = [f"{student} student", *(column for column, _, _ in columns)]
    rows = [
        [_label(method), *(_shown(_by_seed(runs, key), digits) for _, key, digits in columns)]
        for method, runs in methods.items()
    ]
    return table(header, rows)


def _held(claim: tuple[str, tuple[str, ...], str, tuple[str, ...]], students: Result) -> list[str]:
    """The claim, and for each student the number of seeds in which it holds."""
    text, keys, more, less = claim
    row = [text]
    for methods in students.values():
        seeds = methods[more]
        holds = [
            all(
                methods[more][seed][key] > methods[other][seed][key]
                for key in keys
                for other in less
                if other != more
            )
            for seed in seeds
        ]
        row.append(f"{sum(holds)}")
    return row


def _dead(students: Result) -> str:
    """What zero rows do to the local score."""
    runs = [
        (run["zero_rows"] > MANY, run["local"])
        for methods in students.values()
        for method, by_seed in methods.items()
        for run in by_seed.values()
        if method != "untrained"
    ]
    some, others = ([local for dead, local in runs if dead is kind] for kind in (True, False))
    if not some:
        return ""
    return f"""{len(some)} of the {len(runs)} trained students have more than {MANY} zero rows.
    Their local scores are {min(some):.2f} to {max(some):.2f}, those of the others {min(others):.2f}
    to {max(others):.2f}."""


def _ranks(students: Result) -> str:
    """Whether the methods that preserve more are the more accurate ones."""
    parts = []
    for name, methods in students.items():
        trained = [runs for method, runs in methods.items() if method != "untrained"]
        accuracy, local, whole, cka = (
            [mean(_by_seed(runs, key)) for runs in trained]
            for key in ("accuracy", "local", "global", "cka")
        )
        each = [spearmanr(accuracy, x).statistic for x in (local, whole, cka)]
        parts.append(f"{each[0]:.2f} with local, {each[1]:.2f} with global and {each[2]:.2f} with "
                     f"CKA ({name})")  # fmt: skip
    return f"""Over the methods' means, without the student before training, the rank correlation of
    accuracy is {"; ".join(parts)}."""
