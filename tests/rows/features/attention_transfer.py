"""The contract row of attention transfer."""

import graphkd
import graphkd.functional as G
from tests.oracles.features.attention_transfer import attention_transfer
from tests.rows.row import Loss

LOSS = Loss(
    "attention_transfer",
    graphkd.AttentionTransferLoss,
    G.attention_transfer_loss,
    attention_transfer,
)
