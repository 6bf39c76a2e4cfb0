"""The contract row of RKD."""

import graphkd
import graphkd.functional as G
from tests.oracles.pairs.rkd import rkd
from tests.rows.row import DENSE, Loss

LOSS = Loss(
    "rkd",
    graphkd.RKDLoss,
    G.rkd_loss,
    rkd,
    variants=(
        {},
        {"distance_weight": 2.0, "angle_weight": 0.0},
        {"distance_weight": 0.0, "angle_weight": 3.0},
    ),
    backends=DENSE,
    masks_compile=False,
    bad_options=(
        {"distance_weight": -1.0},
        {"angle_weight": float("inf")},
        {"distance_weight": 0.0, "angle_weight": 0.0},
    ),
)
