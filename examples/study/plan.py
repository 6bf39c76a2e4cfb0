"""What the study compares: models, methods, and the settings that are looked for.

Everything here is a list that a reader may change. A method, a teacher and a student alone get as
many trials each. KD's setting stays what it is alone when another loss is added.
"""

from collections.abc import Mapping
from math import sqrt
from typing import Any, NamedTuple

from .methods import BALANCED, CORE, RANGES, parts
from .names import named
from .search import Axes, Axis

TRIALS, TUNING_SEEDS, SEEDS = 20, 3, 10
EPOCHS, PATIENCE = 400, 50
# The same by the task of data.Problem.
LENGTHS = {"node": (EPOCHS, PATIENCE), "graph": (100, 20)}


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
# Of models for graphs, what the paper has on molecules comes first.
OF_GRAPHS: Axes = {
    "dropout": DROPOUT._replace(start=0.2),
    "lr": Axis(0.003, 2.0),
    "weight_decay": Axis(1e-5, sqrt(10)),
    "norm": NORM._replace(start="batch_norm"),
}


def of_size(*widths: int) -> Axes:
    """The axes of a teacher of graphs; it begins with five layers of the last width."""
    return {
        **OF_GRAPHS,
        "width": Axis(widths[-1], values=widths),
        "layers": Axis(5, values=(3, 4, 5)),
    }


# A data set of every task, none of which has to be downloaded.
SMOKE = ("Digits", "Molecules", "Communities", "Papers", "Tiles")

# By name, which is unique among teachers and among students. `task` is one of data.Problem.tasks.
TEACHERS = {
    "GAT": Spec("nodes of one graph", "GAT", {"heads": 4}, GROWING),
    # Without skip connections, a GAT loses too much of a node's own features there.
    "GAT-skip": Spec("nodes of many graphs", "GAT", {"heads": 4, "residual": True}, GROWING),
    "GraphSAGE": Spec("node", "GraphSAGE", {}, GROWING),
    "R-GCN": Spec("hetero", "RGCN", {}, GROWING | SMALLER),
    "PointNet": Spec("points", "PointNet", {}, GROWING | SMALLER | POINTS),
    "GINE": Spec("graph", "GINE", {}, of_size(75, 150, 300)),
    "PNA": Spec("graph", "PNA", {}, of_size(40, 80, 160)),
}
STUDENTS = {
    "GCN": Spec("node", "GCN", {"width": 8, "layers": 2}, STUDENT),
    "GraphSAGE": Spec("node", "GraphSAGE", {"width": 8, "layers": 2}, STUDENT),
    "SIGN": Spec("node", "SIGN", {"width": 8}, STUDENT),
    "MLP": Spec("node", "MLP", {"width": 64}, STUDENT),
    "R-GCN": Spec("hetero", "RGCN", {"width": 16, "layers": 1}, STUDENT),
    "DGCNN": Spec("points", "DGCNN", {"width": 16, "layers": 2}, STUDENT | POINTS),
    "PointNet": Spec("points", "PointNet", {"width": 8, "layers": 2}, STUDENT | POINTS),
    "GAT-skip": Spec(
        "nodes of many graphs",
        "GAT",
        {"width": 16, "layers": 2, "heads": 4, "residual": True},
        STUDENT,
    ),
    # They have 15, 39 and 10 thousand parameters on ogbg-molhiv; GINE and PNA 1.9 and 2.3 million.
    "GCN-60": Spec("graph", "GCN", {"width": 60, "layers": 2}, OF_GRAPHS),
    "GCN-110": Spec("graph", "GCN", {"width": 110, "layers": 2}, OF_GRAPHS),
    "GIN-35": Spec("graph", "GIN", {"width": 35, "layers": 2}, OF_GRAPHS),
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


def space(method: str, dropout: float, kind: str = "multiclass") -> Axes:
    """The settings of a method: its loss's weight and temperature, and the student's dropout.

    There is no weight to look for if WeightedSum balances the losses.

    Args:
        method: Its name.
        dropout: The student's alone, where the search begins.
        kind: That of data.Problem. KD of numbers has no temperature.
    """
    name, arguments = named(parts(loss_of(method))[-1])
    low, high = RANGES[name]
    axes = {"weight": Axis(float(f"{sqrt(low * high):.2g}"), sqrt(10))}
    if method.startswith(BALANCED):
        axes = {}
    has_temperature = name in TEMPERATURES and (name, kind) != ("kd", "regression")
    if has_temperature and "temperature" not in arguments:
        axes["temperature"] = TEMPERATURES[name]
    return axes | {"dropout": DROPOUT._replace(start=dropout)}


def methods_for(student: str, many_graphs: bool = False) -> list[str]:
    """The methods of a student. Most that are for MLPs need that all nodes lie in one graph."""
    return METHODS + (FOR_MLP if student == "MLP" and not many_graphs else [])


# What may compare rows of graphs, as well as rows of nodes. LSP needs edges, and AT's attention is
# one among the nodes of a graph.
OF_ROWS = ("fitnet", "glsp", "gcrd")


def levels(method: str, task: str, wanted: list[str]) -> list[str]:
    """The levels on which a method is tried; "node" for KD, which compares no such rows."""
    losses = [named(part) for part in parts(loss_of(method))]
    if losses[-1][0] == "kd" or task != "graph":
        return ["node"]
    of_rows = all(
        name in ("kd", *OF_ROWS) and arguments.get("head") != "gcn" for name, arguments in losses
    )
    return [level for level in wanted if level == "node" or of_rows]
