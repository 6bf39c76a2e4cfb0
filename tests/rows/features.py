"""The contract rows of VID, NST, activation boundaries, factor transfer, FSP and SimKD."""

import math
from typing import Any

import torch
from torch import Tensor

import graphkd
import graphkd.functional as G
from tests.oracles import features as oracles
from tests.rows.row import DENSE, RELATIVE, Loss, Options


def _usable(h: Any) -> bool:
    """Whether something that a test passes as embeddings can be computed with."""
    matrix = isinstance(h, Tensor) and h.dim() == 2 and h.size(1) > 0
    return matrix and h.is_floating_point() and not h.is_sparse


def _alpha(h_s: Any, h_t: Any) -> Options:
    """The variances that the Module begins with: float32, whatever the rows are."""
    if not _usable(h_t):
        return {"alpha": None}
    first = math.log(math.expm1(5 - 1e-5))
    return {"alpha": torch.full((h_t.size(1),), first, device=h_t.device)}


def _layers(h_s: Any, h_t: Any) -> tuple[Any, Any]:
    """Each matrix as a first layer, and its columns turned round as a second one."""
    return tuple((h, h.flip(1) if _usable(h) else h) for h in (h_s, h_t))


def _graphs(h_s: Any, h_t: Any) -> Options:
    """Two graphs, by the sign of a node's first entry."""
    return {"batch": 5 * (h_t[:, 0] > 0).long() if _usable(h_t) else None}


LOSSES = (
    Loss(
        "vid",
        graphkd.VIDLoss,
        G.vid_loss,
        oracles.vid,
        one_width=True,
        zero_at_self=False,  # a log density
        more=_alpha,
        module_only=frozenset({"init_pred_var"}),
        function_only=frozenset({"alpha"}),
        bad_options=({"eps": 0.0}, {"eps": -1.0}, {"eps": float("nan")}),
    ),
    Loss("nst", graphkd.NSTLoss, G.nst_loss, oracles.nst, backends=RELATIVE),
    Loss(
        "activation_boundaries",
        graphkd.ABLoss,
        G.ab_loss,
        oracles.activation_boundaries,
        variants=({}, {"margin": 0.3}),
        one_width=True,
        zero_at_self=False,  # what lies within the margin is pushed out of it
        poisonable=False,  # an infinite pre-activation may lie on the right side
        bad_options=({"margin": 0.0}, {"margin": -1.0}, {"margin": float("inf")}),
    ),
    Loss(
        "factor_transfer",
        graphkd.FactorTransferLoss,
        G.factor_transfer_loss,
        oracles.factor_transfer,
        variants=({}, {"p": 2}),
        one_width=True,
        scale_free=True,
        bad_options=({"p": 0}, {"p": 3}, {"p": 1.5}, {"p": "1"}),
    ),
    Loss(
        "fsp",
        graphkd.FSPLoss,
        G.fsp_loss,
        oracles.fsp,
        backends=DENSE,
        one_width=True,
        arrange=_layers,
        more=_graphs,
        row_wise=False,
    ),
    Loss(
        "simkd",
        graphkd.SimKDLoss,
        G.simkd_loss,
        oracles.simkd,
        one_width=True,
        # Wrapped, it has no width that could be checked: the tests build the loss at several.
        built_with={"classifier": torch.nn.Sequential(torch.nn.Linear(7, 3))},
        module_only=frozenset({"classifier", "classifier_takes_edges"}),
    ),
)
