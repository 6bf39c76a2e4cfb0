"""The losses that quickstart.py compares: their construction, arguments and settings.

Every loss is a line `graphkd.SomeLoss(...)` here. Most need only the widths of the two models. They
take the tensors of each step by the names of their arguments. The others get more from `Case`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from _common import Setting
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch_geometric.data import Data

import graphkd
import graphkd.functional as G


class Teacher(NamedTuple):
    model: nn.Module
    h: Tensor  # hidden states of all nodes
    z: Tensor  # logits of all nodes


class Case(NamedTuple):
    """Everything that a loss may be built from."""

    dim_s: int
    dim_t: int
    data: Data
    teacher: Teacher
    second: Teacher | None  # for the loss that takes several teachers


class Term(NamedTuple):
    """A loss, and the arguments that it takes beyond the common ones."""

    loss: nn.Module
    given: Mapping[str, Any] = MappingProxyType({})


# 1. The paper's six. `o` holds a temperature, if one is tuned. `max_samples` bounds the two losses
# over all pairs of nodes; the digits have fewer.

CORE: dict[str, Callable[..., Term]] = {
    "kd": lambda c, **o: Term(graphkd.KDLoss(**o)),
    "fitnet": lambda c: Term(graphkd.FitNetLoss(c.dim_s, c.dim_t)),
    "at": lambda c: Term(graphkd.AttentionTransferLoss()),
    "lsp": lambda c: Term(graphkd.LSPLoss()),
    "glsp": lambda c: Term(graphkd.GlobalLSPLoss(max_samples=4096)),
    "gcrd": lambda c, **o: Term(
        graphkd.GCRDLoss(c.dim_s, c.dim_t, proj_dim=64, max_samples=4096, **o)
    ),
}

# 2. The others. A loss comes with the arguments that it takes beside the outputs of the models. An
# argument is a value, or a function that gives a new value in each step.


def simkd(c: Case) -> Term:
    """The teacher's last layer may score the student's rows: `loss.predict(h_s, edge_index)`.

    Here the student is scored by its own last layer, as with all other losses.
    """
    classifier = c.teacher.model.convs[-1]
    loss = graphkd.SimKDLoss(c.dim_s, c.dim_t, classifier, classifier_takes_edges=True)
    return Term(loss)


def factor_transfer(c: Case) -> Term:
    loss = graphkd.FactorTransferLoss(c.dim_s, c.dim_t).to(c.teacher.h.device)
    loss.pretrain(c.teacher.h)
    return Term(loss)


def krd(c: Case) -> Term:
    """Reliability: how little the teacher's predictions change when its features get noise.

    The power that turns this into probabilities stays 1; `loss.update_alpha` would fit it.
    """
    seed = torch.Generator(c.data.x.device).manual_seed(0)
    reliability = G.measure_reliability(
        c.teacher.model, c.data.x, c.data.edge_index, noise=0.1, generator=seed
    )
    return Term(graphkd.KRDLoss(), {"reliability": reliability})


def llp(c: Case) -> Term:
    """Scores of links in contexts that are drawn anew in each step."""
    context = partial(G.link_context, c.data.edge_index, c.data.num_nodes)
    return Term(graphkd.LLPLoss(), {"context": context})


def vqgraph(c: Case) -> Term:
    """The codebook of a teacher that was trained without one: the centres of k-means."""
    codes = KMeans(n_clusters=64, n_init=1, random_state=0).fit(c.teacher.h.float().cpu().numpy())
    codebook = torch.from_numpy(codes.cluster_centers_).to(c.teacher.h)
    return Term(graphkd.VQGraphLoss(c.dim_s, c.dim_t, temperature=1.0), {"codebook": codebook})


def mugsi(c: Case) -> Term:
    """One graph; its clusters are the teacher's classes, its paths are drawn anew in each step."""
    walks = partial(G.random_walks, c.data.edge_index, c.data.num_nodes, length=8)
    given = {"clusters": c.teacher.z.argmax(dim=1), "paths": walks}
    return Term(graphkd.MuGSILoss(c.dim_s, c.dim_t), given)


def layers(c: Case) -> Term:
    """FitNet on all pairs of hidden layer and logits, weighed by attention."""
    dims_s, dims_t = [c.dim_s, c.teacher.z.size(1)], [c.dim_t, c.teacher.z.size(1)]
    loss = graphkd.LayerwiseLoss(graphkd.FitNetLoss, dims_s, dims_t, pairs="attention")
    return Term(loss)


def teachers(c: Case) -> Term:
    """KD from two teachers, weighed node by node."""
    logits = [teacher.z for teacher in (c.teacher, c.second) if teacher is not None]
    widths = [z.size(1) for z in logits]
    loss = graphkd.MultiTeacherLoss(graphkd.KDLoss(reduction="none"), widths[0], widths)
    return Term(loss, {"z_t": logits})


FAMILY: dict[str, Callable[..., Term]] = {
    "kd_std": lambda c: Term(graphkd.KDLoss(standardize=True)),
    # The labels of most nodes are unknown: the teacher's predictions replace them.
    "dkd": lambda c: Term(graphkd.DKDLoss(), {"y": c.teacher.z.argmax(dim=1)}),
    "dist": lambda c: Term(graphkd.DISTLoss()),
    "vid": lambda c: Term(graphkd.VIDLoss(c.dim_s, c.dim_t)),
    "nst": lambda c: Term(graphkd.NSTLoss()),
    # The teacher's active units are visible after its ReLU, too. The student's head is linear.
    "ab": lambda c: Term(graphkd.ABLoss(c.dim_s, c.dim_t)),
    "ft": factor_transfer,
    "fsp": lambda c: Term(graphkd.FSPLoss()),
    "simkd": simkd,
    "sp": lambda c: Term(graphkd.SimilarityPreservingLoss()),
    "rkd": lambda c: Term(graphkd.RKDLoss(max_samples=128)),
    "pkt": lambda c: Term(graphkd.PKTLoss()),
    "cc": lambda c: Term(graphkd.CorrelationCongruenceLoss()),
    "cka": lambda c: Term(graphkd.CKALoss()),
    "crd": lambda c: Term(graphkd.CRDLoss(c.dim_s, c.dim_t, num_nodes=c.data.num_nodes)),
    "ff_g2m": lambda c: Term(graphkd.FFG2MLoss()),
    "krd": krd,
    "gkd": lambda c: Term(graphkd.GKDLoss()),
    "nosmog": lambda c: Term(graphkd.GlobalLSPLoss("linear")),
    "llp": llp,
    "vqgraph": vqgraph,
    "mugsi": mugsi,
    "tined": lambda c: Term(graphkd.TINEDLoss(measure="log")),
    "layers": layers,
    "teachers": teachers,
}


def sides(method: str, h: Tensor, z: Tensor, c: Case) -> tuple[Any, Any]:
    """The `h_s` and `h_t` of a method: the last hidden layers, or other layers that it compares."""
    x, teacher = c.data.x, c.teacher
    match method.removeprefix("kd+"):
        case "tined":  # inputs and outputs of two operations in a row
            return (x, h, z), (x, teacher.h, teacher.z)
        case "fsp":  # first and last layer, of the same widths in both models
            return (x, z), (x, teacher.z)
        case "layers":
            return [h, z], [teacher.h, teacher.z]
    return h, teacher.h


LOSSES = {**CORE, **FAMILY}
PAPER = ["none", *CORE, *(f"kd+{name}" for name in CORE if name != "kd")]
# "teachers" already is KD.
METHODS = [*PAPER, *FAMILY, *(f"kd+{name}" for name in FAMILY if name != "teachers")]
EVERY = ["none", *LOSSES]  # for --losses all
QUICK = ["none", *CORE, "kd+gcrd"]

# The values of the losses differ by orders of magnitude, and so do their weights. The ranges of the
# paper's six were found by hand. Those of the others lie around the weight at which the loss pulls
# on the student's parameters as hard as the labels do, before and after thirty epochs of training.
RANGES = {
    **dict.fromkeys(("fitnet", "at"), (10.0, 100000.0)),
    **dict.fromkeys(("lsp", "glsp"), (1.0, 10000.0)),
    **dict.fromkeys(("ab", "nosmog"), (0.001, 1.0)),
    **dict.fromkeys(("dkd", "crd", "mugsi", "tined"), (0.01, 10.0)),
    **dict.fromkeys(("kd", "gcrd", "kd_std", "dist", "ft", "fsp", "simkd"), (0.1, 100.0)),
    **dict.fromkeys(("rkd", "cka", "ff_g2m", "krd", "vqgraph", "teachers"), (0.1, 100.0)),
    **dict.fromkeys(("nst", "layers"), (1.0, 1000.0)),
    **dict.fromkeys(("vid", "pkt", "cc", "gkd", "llp"), (10.0, 10000.0)),
    "sp": (1000.0, 1000000.0),
}
# The paper's temperature of G-CRD is 0.075.
TEMPERATURES = {"kd": (1.0, 2.0, 4.0), "gcrd": (0.075, 0.5, 1.0)}
TRIALS = 12


def trials(method: str) -> list[Setting]:
    """As many candidates for each method: weights, or fewer weights at each temperature."""
    name = method.removeprefix("kd+")
    temperatures = TEMPERATURES.get(name, (None,))
    weights = np.geomspace(*RANGES[name], TRIALS // len(temperatures))
    return [Setting(float(f"{w:.2g}"), t) for t in temperatures for w in weights]


# The settings for the digits, chosen on validation nodes. `quickstart.py --full --tune` chose those
# of the paper's six, alone and beside KD, on three seeds. The others' weights are one of four, a
# decade apart, on one seed. Some lie at an edge of their grid, as do temperatures of KD and G-CRD.
# "kd+lsp" is the weight of LSP beside KD; KD keeps the settings that it has alone. A pair is
# (weight, temperature).
_CHOSEN: dict[str, dict[str, Any]] = {
    "MLP": {
        "kd": (10.0, 1.0), "fitnet": 19000.0, "at": 8100.0, "lsp": 350.0, "glsp": 150.0,
        "gcrd": (10.0, 1.0), "kd+fitnet": 1500.0, "kd+at": 8100.0, "kd+lsp": 350.0,
        "kd+glsp": 150.0, "kd+gcrd": (100.0, 1.0),
        "kd_std": 100.0, "dkd": 10.0, "dist": 100.0, "vid": 10000.0, "nst": 100.0, "ab": 0.1,
        "ft": 100.0, "fsp": 100.0, "simkd": 100.0, "sp": 100000.0, "rkd": 100.0, "pkt": 1000.0,
        "cc": 10000.0, "cka": 10.0, "crd": 10.0, "ff_g2m": 10.0, "krd": 100.0, "gkd": 10.0,
        "nosmog": 0.01, "llp": 10000.0, "vqgraph": 100.0, "mugsi": 1.0, "tined": 0.01,
        "layers": 100.0, "teachers": 1.0,
    },
    "GCN": {
        "kd": (100.0, 2.0), "fitnet": 8100.0, "at": 660.0, "lsp": 2.3, "glsp": 1900.0,
        "gcrd": (100.0, 0.5), "kd+fitnet": 280.0, "kd+at": 10.0, "kd+lsp": 2.3, "kd+glsp": 12.0,
        "kd+gcrd": (100.0, 1.0),
        "kd_std": 1.0, "dkd": 0.1, "dist": 10.0, "vid": 1000.0, "nst": 1000.0, "ab": 0.01,
        "ft": 1.0, "fsp": 100.0, "simkd": 10.0, "sp": 10000.0, "rkd": 1.0, "pkt": 10000.0,
        "cc": 10000.0, "cka": 1.0, "crd": 0.1, "ff_g2m": 100.0, "krd": 1.0, "gkd": 10.0,
        "nosmog": 0.01, "llp": 10.0, "vqgraph": 10.0, "mugsi": 0.01, "tined": 0.1, "layers": 100.0,
        "teachers": 10.0,
    },
}  # fmt: skip
SETTINGS = {
    student: {name: Setting(*(v if isinstance(v, tuple) else (v,))) for name, v in chosen.items()}
    for student, chosen in _CHOSEN.items()
}
