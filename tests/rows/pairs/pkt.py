"""The contract row of PKT."""

import graphkd
import graphkd.functional as G
from tests.oracles.pairs.pkt import pkt
from tests.rows.row import DENSE, Loss

LOSS = Loss(
    "pkt",
    graphkd.PKTLoss,
    G.pkt_loss,
    pkt,
    backends=DENSE,
    scale_free=True,
)
