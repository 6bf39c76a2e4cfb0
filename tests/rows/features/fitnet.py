"""The contract row of FitNet."""

import graphkd
import graphkd.functional as G
from tests.oracles.features.fitnet import fitnet
from tests.rows.row import Loss

LOSS = Loss(
    "fitnet",
    graphkd.FitNetLoss,
    G.fitnet_loss,
    fitnet,
    one_width=True,
    scale_free=True,
)
