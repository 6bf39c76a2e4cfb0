"""What the study's pages say of robustness and of cost."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from _study_tables import FOLDER, dropdown, table, wide
from _tables import image, joined, prose, read
from study import robustness, similarity
from study.robustness import Curves
from study.statistics import NONE, label

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def title(header: dict, teacher: str, student: str) -> str:
    setting = "" if header["setting"] == "transductive" else f", {header['setting']}"
    return f"{header['dataset']}{setting}, {teacher} → {student}"


def lines_of(path: Path) -> tuple[dict, list[dict]]:
    """The header of a file and all of its lines."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return lines[0], lines


# Robustness ---------------------------------------------------------------------------------------


def robust(folder: Path = FOLDER) -> dict[str, tuple[dict[str, Curves], str]]:
    """Curves of each pair, in the test and in training, and of how many runs they are."""
    found = {}
    for path in sorted((folder / "robustness").glob("*.jsonl")):
        header, lines = lines_of(path)
        pairs = dict.fromkeys((x["teacher"], x["model"]) for x in lines if "teacher" in x)
        for pair in pairs:
            by = {when: robustness.curves(lines, *pair, when) for when in ("test", "train")}
            mine = [x for x in lines if (x.get("teacher"), x.get("model")) == pair]
            failed = sum("failed" in line for line in similarity.latest(mine))
            seeds = f"{len({line['seed'] for line in mine})} seeds"
            seeds += f"; failed runs, which are on no curve: {failed}" if failed else ""
            found[title(header, *pair)] = by, seeds
    return found


def robustness_blocks(folder: Path = FOLDER) -> dict[str, str]:
    return {"robustness": joined(*parts)} if (parts := list(pairs_of(robust(folder)))) else {}


def pairs_of(found: dict[str, tuple[dict[str, Curves], str]]) -> list[str]:
    parts = []
    for name, (by, seeds) in found.items():
        parts.append(f"## {name}\n\n{seeds}; bands are 95 % intervals.")
        for when, what in (("test", "Corrupted in the test"), ("train", "Corrupted in training")):
            parts.append(wide(image(f"_static/{curve_file(name, when)}", f"{name}: {what}")))
            parts.append(dropdown(f"{what}: the numbers", numbers(by[when])))
    return parts


def curve_file(name: str, when: str) -> str:
    words = re.findall(r"[\w.-]+", name)
    return "_".join(["study_robustness", *words, f"{when}.svg"])


def numbers(curves: Curves) -> str:
    rows = []
    for kind, by_method in curves.items():
        shares = [point.share for point in next(iter(by_method.values()))]
        rows.append([f"**{kind}**", *(f"{share:g}" for share in shares)])
        for method, points in by_method.items():
            name = "teacher" if method == "teacher" else label(method)
            cells = (f"{one.mean:.1f} [{one.low:.1f}, {one.high:.1f}]" for one in points)
            rows.append([name, *cells])
    most = max(map(len, rows))
    return table(["share", *[""] * (most - 1)], [row + [""] * (most - len(row)) for row in rows])


# Cost ---------------------------------------------------------------------------------------------


def cost_blocks() -> dict[str, str]:
    """Time and memory of each method beside what it gains."""
    found = read("study_cost")
    return {"study cost": joined(*(costs(*one) for one in found.items()))} if found else {}


def costs(column: str, result: dict) -> str:
    rows, base = [], result["methods"][NONE]["seconds"]["median"]
    for method, one in result["methods"].items():
        gain = one["gain"]
        text = f"{gain['mean']:+.2f} [{gain['low']:+.2f}, {gain['high']:+.2f}]".replace("-", "−")
        rows.append([label(method), f"{1e3 * one['seconds']['median']:.1f}",
                     f"{one['seconds']['median'] / base:.1f}×", f"{one['mib']:.0f}",
                     "" if method == NONE else text])  # fmt: skip
    head = ["method", "ms an epoch", "of no distillation", "memory, MiB", "gain, points"]
    text = f"""{column}: process time of one thread, the median over {result["epochs"]} epochs and
    {result["turns"]} processes, validation included; memory is how far a process's peak rises over
    the data, the models and the teacher's outputs. The gain is over no distillation."""
    return joined(prose(text), table(head, rows))


def inference_blocks() -> dict[str, str]:
    """What a student saves when it predicts."""
    found = read("inference")
    return {"study inference": inferences(found["pairs"])} if found else {}


def inferences(pairs: list[dict]) -> str:
    rows = []
    for pair in pairs:
        one, dataset = pair.get("one"), pair["dataset"].rpartition(":")[2]
        alone = ["–", "–"]
        if one:
            alone = [" → ".join(f"{n:,.0f}" for n in one["reads"]), faster(one["speed"])]
        sizes = " → ".join(f"{n:,}" for n in pair["parameters"])
        name = f"{dataset}, {pair['teacher']} → {pair['student']}"
        rows.append([name, sizes, faster(pair["all"]["speed"]), *alone])
    head = ["", "parameters", "whole graph", "rows read for one node", "one node"]
    text = """The teacher's time over the student's when they predict (`python
    benchmarks/inference.py`): process time of one thread, medians and quartiles over turns. "One
    node" is a prediction for a single test node, or a single molecule. A GNN computes on as many
    hops around it as it has layers, which are cut out before the clock starts; an MLP reads one
    row, and so does SIGN, whose hops are computed before."""
    return joined(prose(text), table(head, rows))


def faster(speed: dict[str, float]) -> str:
    middle, low, high = (f"{speed[key]:.{0 if speed[key] >= 10 else 1}f}"
                         for key in ("median", "low", "high"))  # fmt: skip
    return f"{middle}× [{low}, {high}]"


# Figures ------------------------------------------------------------------------------------------


def figures(folder: Path = FOLDER) -> dict[str, "Figure"]:
    """The figures of robustness, by file name."""
    drawn = {}
    for name, (by, _) in robust(folder).items():
        for when, curves in by.items():
            drawn[curve_file(name, when)] = robustness.figure(curves, "score", name_of)
    return drawn


def name_of(method: str) -> str:
    return "teacher" if method == "teacher" else label(method)
