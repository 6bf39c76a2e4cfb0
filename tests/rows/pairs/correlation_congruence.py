"""The contract row of correlation congruence."""

import graphkd
import graphkd.functional as G
from tests.oracles.pairs.correlation_congruence import correlation_congruence
from tests.rows.row import DENSE, Loss

LOSS = Loss(
    "correlation_congruence",
    graphkd.CorrelationCongruenceLoss,
    G.correlation_congruence_loss,
    correlation_congruence,
    variants=({}, {"order": 1}, {"gamma": 1.5, "order": 5}),
    backends=DENSE,
    scale_free=True,
    bad_options=({"gamma": 0.0}, {"gamma": float("nan")}, {"order": 0}),
)
