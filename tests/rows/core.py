"""The contract rows of the seed's six losses."""

import graphkd
import graphkd.functional as G
from tests import oracles
from tests.rows.row import KERNELS, RELATIVE, SCATTER, Loss

LOSSES = (
    Loss(
        "gcrd",
        graphkd.GCRDLoss,
        G.gcrd_loss,
        oracles.gcrd,
        variants=({}, {"symmetric": True}, {"temperature": 0.5}),
        backends=RELATIVE,
        one_width=True,
        scale_free=True,
        zero_at_self=False,
        masks_compile=False,
        bad_options=(
            {"temperature": 0.0},
            {"temperature": -1.0},
            {"temperature": float("nan")},
            {"temperature": float("inf")},
            {"max_samples": 1},
            {"max_samples": 8, "reduction": "none"},
        ),
    ),
    Loss(
        "lsp",
        graphkd.LSPLoss,
        G.lsp_loss,
        oracles.lsp,
        variants=tuple(
            {**kernel, "divergence": divergence}
            for kernel in KERNELS
            for divergence in ("kl", "mse")
        ),
        backends=(*RELATIVE, *SCATTER),
        edges=True,
        bad_options=(
            {"kernel": "gauss"},
            {"divergence": "js"},
            {"gamma": 1.0},
            {"kernel": "rbf", "gamma": 0.0},
            {"kernel": "rbf", "gamma": "mean"},
        ),
    ),
    Loss(
        "global_lsp",
        graphkd.GlobalLSPLoss,
        G.global_lsp_loss,
        oracles.global_lsp,
        variants=KERNELS,
        backends=RELATIVE,
        bad_options=({"kernel": "gauss"}, {"kernel": "rbf", "gamma": -1.0}, {"max_samples": 0}),
    ),
    Loss(
        "kd",
        graphkd.KDLoss,
        G.kd_loss,
        oracles.kd,
        variants=(
            {},
            {"temperature": 1.0},
            {"task": "multilabel"},
            {"task": "regression"},
            {"standardize": True},
            {"standardize": "population", "temperature": 2.0},
        ),
        logits=True,
        bad_options=(
            {"temperature": 0.0},
            {"temperature": float("nan")},
            {"task": "ranking"},
            {"task": "regression", "temperature": 4.0},
            {"standardize": "unbiased"},
            {"standardize": 1},
            {"standardize": True, "task": "multilabel"},
            {"standardize": "population", "task": "regression"},
        ),
    ),
    Loss(
        "fitnet",
        graphkd.FitNetLoss,
        G.fitnet_loss,
        oracles.fitnet,
        one_width=True,
        scale_free=True,
    ),
    Loss(
        "attention_transfer",
        graphkd.AttentionTransferLoss,
        G.attention_transfer_loss,
        oracles.attention_transfer,
    ),
)
