"""Methods by name, such as "kd" or "kd+gcrd": the one place that builds their losses.

Arguments of a loss may stand behind its name, as in "kd+gcrd[temperature=0.1,head=student]". Every
loss knows nodes=labelled: it then takes these rows only, as do the others of the same method. In
"balanced:kd+gcrd", all weights are 1, and WeightedSum balances the losses.

Every loss is a line `graphkd.SomeLoss(...)` here. Most need only the widths of the two models. They
take the tensors of each step by the names of their arguments. The others get more from `Case`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch_geometric.data import Data

import graphkd
import graphkd.functional as G

from .names import named

LABELS = {"none": "No distillation", "kd": "KD", "fitnet": "FitNet", "at": "AT", "lsp": "LSP"}
LABELS |= {"glsp": "Global LSP", "gcrd": "G-CRD"}
LABELS |= {
    "kd_std": "KD, standardised", "dkd": "DKD", "dist": "DIST", "vid": "VID", "nst": "NST",
    "ab": "AB", "ft": "Factor transfer", "fsp": "FSP", "simkd": "SimKD", "sp": "SP", "rkd": "RKD",
    "pkt": "PKT", "cc": "CC", "cka": "CKA", "crd": "CRD", "ff_g2m": "FF-G2M", "krd": "KRD, α = 1",
    "gkd": "GKD", "nosmog": "NOSMOG's similarity", "llp": "LLP", "vqgraph": "VQGraph",
    "mugsi": "MuGSI", "tined": "TINED", "layers": "FitNet, all layers", "teachers": "Two teachers",
}  # fmt: skip


class Setting(NamedTuple):
    """What is chosen on validation data: the weight of a loss and, of some, its temperature."""

    weight: float
    temperature: float | None = None

    def options(self) -> dict[str, float]:
        """The arguments for the loss's constructor."""
        return {} if self.temperature is None else {"temperature": self.temperature}

    def __str__(self) -> str:
        return "@".join(str(x) for x in self if x is not None)


Settings = dict[str, Setting]


class Teacher(NamedTuple):
    model: nn.Module
    # Hidden states and logits of all nodes, if these are in one graph.
    h: Tensor | None
    z: Tensor | None


class Case(NamedTuple):
    """Everything that a loss may be built from."""

    dim_s: int
    dim_t: int
    data: Data | None  # if all of it is one graph
    teacher: Teacher
    second: Teacher | None = None  # for the loss that takes several teachers
    task: str = "multiclass"  # as KDLoss has it
    max_samples: int = 4096  # rows that a loss over all pairs draws in each step


class Term(NamedTuple):
    """A loss, and the arguments that it takes beyond the common ones."""

    loss: nn.Module
    given: Mapping[str, Any] = MappingProxyType({})


# 1. The paper's six. `o` holds a temperature, if one is tuned, and other arguments.


def gcrd(c: Case, *, positives: str = "own", **o: Any) -> Term:
    """The positives of a node are its own teacher row, its neighbours' or those of its class.

    The class is what the teacher predicts.
    """
    given: dict[str, Any] = {}
    if positives not in ("own", "edges", "classes"):
        raise ValueError(f"positives are own, edges or classes, not {positives}")
    if positives == "edges":
        given["positives"] = c.data.edge_index
    elif positives == "classes":
        given["labels"] = c.teacher.z.argmax(dim=1)
    loss = graphkd.GCRDLoss(c.dim_s, c.dim_t, **{"proj_dim": 64, "max_samples": c.max_samples} | o)
    return Term(loss, given)


CORE: dict[str, Callable[..., Term]] = {
    "kd": lambda c, **o: Term(graphkd.KDLoss(task=c.task, **o)),
    "fitnet": lambda c: Term(graphkd.FitNetLoss(c.dim_s, c.dim_t)),
    "at": lambda c: Term(graphkd.AttentionTransferLoss()),
    "lsp": lambda c: Term(graphkd.LSPLoss()),
    "glsp": lambda c: Term(graphkd.GlobalLSPLoss(max_samples=c.max_samples)),
    "gcrd": gcrd,
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
    rows = c.teacher.h.float().cpu().numpy()
    codes = KMeans(n_clusters=min(64, len(rows)), n_init=1, random_state=0).fit(rows)
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
    match named(parts(method)[-1])[0]:
        case "tined":  # inputs and outputs of two operations in a row
            return (x, h, z), (x, teacher.h, teacher.z)
        case "fsp":  # first and last layer, of the same widths in both models
            return (x, z), (x, teacher.z)
        case "layers":
            return [h, z], [teacher.h, teacher.z]
    return h, teacher.h


LOSSES = {**CORE, **FAMILY}
# What losses, or arguments of any loss, need of a data set and of the rows that are compared.
NEEDS = {
    # They are built from it, or compare other layers than the last.
    "one graph of one node type": {
        "fsp", "crd", "krd", "llp", "mugsi", "tined", "layers", "positives=edges",
        "nodes=labelled",
    },
    # They are built from the teacher's outputs for all nodes.
    "one graph": {"dkd", "ft", "simkd", "vqgraph", "teachers", "positives=classes"},
    # hetero.py gives edges to LSP alone, and balances nothing.
    "one node type": {"ff_g2m", "gkd", "head=gcn", "balanced"},
    "labels of nodes": {"ff_g2m"},  # it compares logits along edges
    "one class for each row": {
        "kd_std", "dkd", "dist", "ff_g2m", "krd", "teachers", "mugsi", "positives=classes",
    },
    "three classes or more": {"dkd"},
    "many graphs": {"queue_size"},
}  # fmt: skip
# A sum cannot hold every loss beside these: they take other layers, or logits of two teachers.
BESIDE = {"tined": {"kd"}, "fsp": {"kd"}, "layers": {"kd"}, "teachers": set()}

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


BALANCED = "balanced:"


def parts(method: str) -> list[str]:
    """["kd", "gcrd"] from "kd+gcrd", balanced or not."""
    return method.removeprefix(BALANCED).split("+")


def beside_kd(method: str) -> bool:
    """Whether KD is a part of the method, with the setting that it has alone."""
    return len(parts(method)) > 1 and "kd" in parts(method)


def needs(method: str) -> list[str]:
    """What the method needs: the keys of NEEDS."""
    own = {"balanced"} if method.startswith(BALANCED) else set()
    for name, arguments in map(named, parts(method)):
        own |= {name, *arguments, *(f"{key}={value}" for key, value in arguments.items())}
    return [need for need, names in NEEDS.items() if names & own]


def objective(
    method: str, settings: Settings, case: Case
) -> tuple[graphkd.WeightedSum | None, dict[str, Any]]:
    """The weighted sum of a method's distillation losses, for example of "kd+gcrd".

    The setting of "kd+gcrd" is that of G-CRD beside KD; KD keeps the one that it has alone. The
    second result holds the arguments that its calls take beyond the outputs of the models.
    """
    if method == "none":
        return None, {}
    found, given = terms(method, settings, case)
    return graphkd.WeightedSum(balance=method.startswith(BALANCED), **found), given


def terms(
    method: str, settings: Settings, case: Case
) -> tuple[dict[str, tuple[float, nn.Module]], dict[str, Any]]:
    """The weights and losses of `objective`, by name, and what they take beyond the outputs."""
    balance, found, given = method.startswith(BALANCED), {}, {}
    for part in parts(method):
        known = part == "kd" and beside_kd(method)
        setting, (name, arguments) = settings["kd" if known else method], named(part)
        if (nodes := arguments.pop("nodes", "all")) == "labelled":
            if "train_mask" in case.data:  # else all are
                given["index"] = case.data.train_mask
        elif nodes != "all":
            raise ValueError(f"nodes are all or labelled, not {nodes}")
        loss, more = LOSSES[name](case, **setting.options(), **arguments)
        found[name] = (1.0 if balance else setting.weight, loss)
        given.update(more)
    return found, given
