"""What the study compares: models, methods, and the settings that are looked for.

Everything here is a list that a reader may change. A method, a teacher and a student alone get as
many trials each. KD's setting stays what it is alone when another loss is added.
"""

from collections.abc import Mapping
from math import sqrt
from typing import Any, NamedTuple

from .methods import BALANCED, CORE, RANGES, named, parts
from .search import Axes, Axis

TRIALS, TUNING_SEEDS, SEEDS = 20, 3, 10
EPOCHS, PATIENCE = 400, 50


class Spec(NamedTuple):
    """A model: its task, its name in models.py, fixed options, and those that are looked for."""

    task: str
    name: str
    fixed: Mapping[str, Any]
    axes: Axes


DROPOUT = Axis(0.4, values=(0.0, 0.2, 0.4, 0.6, 0.8))
NORM = Axis(None, values=(None, "batch_norm"))
LEARNING: Axes = {"lr": Axis(0.01, 2.0), "weight_decay": Axis(5e-4, sqrt(10))}
# A teacher may grow: what it gains by tuning is no gain of distillation.
GROWING: Axes = {
    "dropout": DROPOUT,
    **LEARNING,
    "width": Axis(64, values=(16, 32, 64, 128, 256)),
    "layers": Axis(2, values=(2, 3, 4)),
    "norm": NORM,
}
# Relational and point convolutions have more to compute, and few sizes fit two cores.
SMALLER: Axes = {"width": Axis(64, values=(32, 64, 128)), "layers": Axis(2, values=(2, 3))}
POINTS: Axes = {"norm": Axis("batch_norm", values=(None, "batch_norm"))}
STUDENT: Axes = {"dropout": DROPOUT, **LEARNING, "norm": NORM}

# By name, which is unique among teachers and among students. `task` is that of data.Problem.
TEACHERS = {
    "GAT": Spec("node", "GAT", {"heads": 4}, GROWING),
    "GraphSAGE": Spec("node", "GraphSAGE", {}, GROWING),
    "R-GCN": Spec("hetero", "RGCN", {}, GROWING | SMALLER),
    "PointNet": Spec("points", "PointNet", {}, GROWING | SMALLER | POINTS),
}
STUDENTS = {
    "GCN": Spec("node", "GCN", {"width": 8, "layers": 2}, STUDENT),
    "GraphSAGE": Spec("node", "GraphSAGE", {"width": 8, "layers": 2}, STUDENT),
    "SIGN": Spec("node", "SIGN", {"width": 8}, STUDENT),
    "MLP": Spec("node", "MLP", {"width": 64}, STUDENT),
    "R-GCN": Spec("hetero", "RGCN", {"width": 16, "layers": 1}, STUDENT),
    "DGCNN": Spec("points", "DGCNN", {"width": 16, "layers": 2}, STUDENT | POINTS),
    "PointNet": Spec("points", "PointNet", {"width": 8, "layers": 2}, STUDENT | POINTS),
}

# The student alone and KD with twice the trials show what more search gives: a method's own trials
# come after those of the student alone. G-CRD at the paper's temperature shows what its search over
# temperatures gives.
NONE_TWICE, TWICE, PAPER_GCRD = "none*", "kd*", "gcrd[temperature=0.075]"
ALONE = [name for name in CORE if name != "kd"]
METHODS = ["kd", *ALONE, *(f"kd+{name}" for name in ALONE), PAPER_GCRD, TWICE]
# Further losses that their papers propose for MLPs.
FOR_MLP = ["dist", "ff_g2m", "krd", "nosmog", "tined", "vqgraph"]
TEMPERATURES = {"kd": Axis(2.0, sqrt(2)), "gcrd": Axis(0.5, sqrt(2))}


def loss_of(method: str) -> str:
    """The method whose losses are built: "kd" for KD with twice the trials."""
    return method.removesuffix("*")


def space(method: str, dropout: float) -> Axes:
    """The settings of a method: its loss's weight and temperature, and the student's dropout.

    There is no weight to look for if WeightedSum balances the losses.

    Args:
        method: Its name.
        dropout: The student's alone, where the search begins.
    """
    name, arguments = named(parts(loss_of(method))[-1])
    low, high = RANGES[name]
    axes = {"weight": Axis(float(f"{sqrt(low * high):.2g}"), sqrt(10))}
    if method.startswith(BALANCED):
        axes = {}
    if name in TEMPERATURES and "temperature" not in arguments:
        axes["temperature"] = TEMPERATURES[name]
    return axes | {"dropout": DROPOUT._replace(start=dropout)}


def methods_for(student: str) -> list[str]:
    return METHODS + (FOR_MLP if student == "MLP" else [])
