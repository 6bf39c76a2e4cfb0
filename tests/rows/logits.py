"""The contract rows of DKD and DIST."""

from typing import Any

from torch import Tensor

import graphkd
import graphkd.functional as G
from tests.oracles import logits as oracles
from tests.rows.row import Loss, Options


def _classes(h_s: Any, h_t: Any) -> Options:
    """The teacher's favourite class of each row, wherever there is one."""
    if not (isinstance(h_t, Tensor) and h_t.dim() == 2 and h_t.is_floating_point()):
        return {"y": None}
    if h_t.is_sparse or h_t.size(1) == 0:
        return {"y": None}
    return {"y": h_t.detach().argmax(dim=1)}


LOSSES = (
    Loss(
        "dkd",
        graphkd.DKDLoss,
        G.dkd_loss,
        oracles.dkd,
        variants=({}, {"alpha": 0.5, "beta": 2.0, "temperature": 1.0}, {"alpha": 0.0}, {"beta": 0}),
        logits=True,
        more=_classes,
        bad_options=(
            {"temperature": 0.0},
            {"temperature": float("nan")},
            {"alpha": -1.0},
            {"beta": float("inf")},
            {"alpha": 0.0, "beta": 0.0},
        ),
    ),
    Loss(
        "dist",
        graphkd.DISTLoss,
        G.dist_loss,
        oracles.dist,
        variants=({}, {"beta": 2.0, "gamma": 0.5, "temperature": 4.0}, {"beta": 0.0}, {"gamma": 0}),
        logits=True,
        bad_options=(
            {"temperature": -1.0},
            {"temperature": float("inf")},
            {"beta": -1.0},
            {"gamma": float("nan")},
            {"beta": 0.0, "gamma": 0.0},
        ),
        zero_at_self=False,  # but for an epsilon beside the lengths of rows and columns
    ),
)
