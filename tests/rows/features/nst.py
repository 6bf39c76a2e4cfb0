"""The contract row of NST."""

import graphkd
import graphkd.functional as G
from tests.oracles.features.nst import nst
from tests.rows.row import RELATIVE, Loss

LOSS = Loss("nst", graphkd.NSTLoss, G.nst_loss, nst, backends=RELATIVE)
