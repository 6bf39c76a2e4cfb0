"""The contract row of activation boundaries."""

import graphkd
import graphkd.functional as G
from tests.oracles.features.activation_boundaries import activation_boundaries
from tests.rows.row import Loss

LOSS = Loss(
    "activation_boundaries",
    graphkd.ABLoss,
    G.ab_loss,
    activation_boundaries,
    variants=({}, {"margin": 0.3}),
    one_width=True,
    zero_at_self=False,  # values within the margin are pushed out of it
    poisonable=False,  # an infinite pre-activation may lie on the right side
    bad_options=({"margin": 0.0}, {"margin": -1.0}, {"margin": float("inf")}),
)
