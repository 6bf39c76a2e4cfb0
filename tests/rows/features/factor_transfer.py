"""The contract row of factor transfer."""

import graphkd
import graphkd.functional as G
from tests.oracles.features.factor_transfer import factor_transfer
from tests.rows.row import Loss

LOSS = Loss(
    "factor_transfer",
    graphkd.FactorTransferLoss,
    G.factor_transfer_loss,
    factor_transfer,
    variants=({}, {"p": 2}),
    one_width=True,
    scale_free=True,
    bad_options=({"p": 0}, {"p": 3}, {"p": 1.5}, {"p": "1"}),
)
