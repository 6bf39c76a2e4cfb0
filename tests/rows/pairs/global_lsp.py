"""The contract row of GlobalLSP."""

import graphkd
import graphkd.functional as G
from tests.oracles.pairs.global_lsp import global_lsp
from tests.rows.row import KERNELS, RELATIVE, Loss

LOSS = Loss(
    "global_lsp",
    graphkd.GlobalLSPLoss,
    G.global_lsp_loss,
    global_lsp,
    variants=KERNELS,
    backends=RELATIVE,
    bad_options=({"kernel": "gauss"}, {"kernel": "rbf", "gamma": -1.0}, {"max_samples": 0}),
)
