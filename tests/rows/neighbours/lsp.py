"""The contract row of LSP."""

import graphkd
import graphkd.functional as G
from tests.oracles.neighbours.lsp import lsp
from tests.rows.row import KERNELS, RELATIVE, SCATTER, Loss

LOSS = Loss(
    "lsp",
    graphkd.LSPLoss,
    G.lsp_loss,
    lsp,
    variants=tuple(
        {**kernel, "divergence": divergence} for kernel in KERNELS for divergence in ("kl", "mse")
    ),
    backends=(*RELATIVE, *SCATTER),
    edges=True,
    edge_ratios=True,
    bad_options=(
        {"kernel": "gauss"},
        {"divergence": "js"},
        {"gamma": 1.0},
        {"kernel": "rbf", "gamma": 0.0},
        {"kernel": "rbf", "gamma": "mean"},
    ),
)
