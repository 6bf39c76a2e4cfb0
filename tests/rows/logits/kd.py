"""The contract row of KD."""

import graphkd
import graphkd.functional as G
from tests.oracles.logits.kd import kd
from tests.rows.row import Loss

LOSS = Loss(
    "kd",
    graphkd.KDLoss,
    G.kd_loss,
    kd,
    variants=(
        {},
        {"temperature": 1.0},
        {"task": "multilabel"},
        {"task": "regression"},
        {"standardize": True},
        {"standardize": "population", "temperature": 2.0},
        {"divergence": "reverse_kl"},
        {"divergence": "js", "temperature": 2.0},
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
        {"divergence": "tv"},
        {"divergence": "js", "task": "multilabel"},
        {"divergence": "reverse_kl", "task": "regression"},
    ),
)
