"""The contract row of GKD."""

import graphkd
import graphkd.functional as G
from tests.oracles.neighbours.gkd import gkd
from tests.rows.row import DENSE, Loss

LOSS = Loss(
    "gkd",
    graphkd.GKDLoss,
    G.gkd_loss,
    gkd,
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
)
