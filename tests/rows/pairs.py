"""The contract rows of PKT, RKD and correlation congruence."""

import graphkd
import graphkd.functional as G
from tests.oracles import pairs as oracles
from tests.rows.row import DENSE, Loss

LOSSES = (
    Loss(
        "pkt",
        graphkd.PKTLoss,
        G.pkt_loss,
        oracles.pkt,
        backends=DENSE,
        scale_free=True,
    ),
    Loss(
        "rkd",
        graphkd.RKDLoss,
        G.rkd_loss,
        oracles.rkd,
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
    ),
    Loss(
        "correlation_congruence",
        graphkd.CorrelationCongruenceLoss,
        G.correlation_congruence_loss,
        oracles.correlation_congruence,
        variants=({}, {"order": 1}, {"gamma": 1.5, "order": 5}),
        backends=DENSE,
        scale_free=True,
        bad_options=({"gamma": 0.0}, {"gamma": float("nan")}, {"order": 0}),
    ),
)
