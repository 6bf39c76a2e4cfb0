"""The contract rows of FF-G2M, KRD and GKD."""

from typing import Any

from torch import Tensor

import graphkd
import graphkd.functional as G
from tests.oracles import neighbours as oracles
from tests.rows.row import DENSE, Loss, Options


def _reliability(z_s: Any, z_t: Any) -> Options:
    """A number between 0 and 1 for each node, from its own logits."""
    matrix = isinstance(z_t, Tensor) and z_t.dim() == 2 and z_t.is_floating_point()
    usable = matrix and not z_t.is_sparse and z_t.size(1) > 0
    return {"reliability": z_t[:, 0].double().sigmoid() if usable else None}


LOSSES = (
    Loss(
        "ff_g2m",
        graphkd.FFG2MLoss,
        G.ff_g2m_loss,
        oracles.ff_g2m,
        variants=(
            {},
            {"low_weight": 0.0, "high_temperature": 1.0},
            {"low_weight": 0.3, "high_weight": 2.0, "low_temperature": 2.0},
        ),
        backends=DENSE,
        logits=True,
        edges=True,
        edges_only=False,  # each node is compared with itself, too
        selects_first=False,  # the mean is over the pairs of the selected centres
        zero_at_self=False,  # a prediction cannot equal those of neighbours that disagree
        bad_options=(
            {"low_weight": -1.0},
            {"high_weight": float("nan")},
            {"low_weight": 0.0, "high_weight": 0.0},
            {"low_temperature": 0.0},
            {"high_temperature": float("inf")},
        ),
    ),
    Loss(
        "krd",
        graphkd.KRDLoss,
        G.krd_loss,
        oracles.krd,
        variants=({}, {"alpha": 0.5, "temperature": 2.0}, {"alpha": 3.0}),
        logits=True,
        edges=True,
        edges_only=False,  # each node is compared with itself, too
        selects_first=False,  # the mean is over the pairs of the selected centres
        zero_at_self=False,  # a prediction cannot equal those of neighbours that disagree
        more=_reliability,
        module_only=frozenset({"momentum", "bins"}),
        bad_options=(
            {"alpha": 0.0},
            {"alpha": float("nan")},
            {"temperature": 0.0},
            {"temperature": float("inf")},
        ),
    ),
    Loss(
        "gkd",
        graphkd.GKDLoss,
        G.gkd_loss,
        oracles.gkd,
        variants=(
            {"kernel": "sigmoid"},
            {"kernel": "sigmoid", "delta": 0.0},
            {"kernel": "sigmoid", "delta": 1.0},
            {"kernel": "rbf", "delta": 0.5},
            {"kernel": "rbf", "gamma": "median"},
        ),
        backends=DENSE,
        edges=True,
        edges_only=False,  # all pairs count
        poisonable=False,  # the hyperbolic tangent of infinity is 1
        bad_options=(
            {"kernel": "linear"},
            {"gamma": 1.0},
            {"kernel": "rbf", "gamma": 0.0},
            {"kernel": "rbf", "num_features": 8},
            {"kernel": "random", "num_features": 0},
            {"delta": -0.1},
            {"delta": float("inf")},
        ),
        of_seeds=False,  # all nodes are looked at
    ),
)
