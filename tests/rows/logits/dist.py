"""The contract row of DIST."""

import graphkd
import graphkd.functional as G
from tests.oracles.logits.dist import dist
from tests.rows.row import Loss

LOSS = Loss(
    "dist",
    graphkd.DISTLoss,
    G.dist_loss,
    dist,
    variants=({}, {"beta": 2.0, "gamma": 0.5, "temperature": 4.0}, {"beta": 0.0}, {"gamma": 0}),
    logits=True,
    bad_options=(
        {"temperature": -1.0},
        {"temperature": float("inf")},
        {"beta": -1.0},
        {"gamma": float("nan")},
        {"beta": 0.0, "gamma": 0.0},
    ),
    zero_at_self=False,  # because of an epsilon beside the lengths of rows and columns
)
