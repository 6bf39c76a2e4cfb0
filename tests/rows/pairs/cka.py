"""The contract row of CKA."""

import graphkd
import graphkd.functional as G
from tests.oracles.pairs.cka import cka
from tests.rows.row import Loss

LOSS = Loss(
    "cka",
    graphkd.CKALoss,
    G.cka_loss,
    cka,
    variants=({}, {"debiased": True}),
    bad_options=({"debiased": "yes"},),
)
