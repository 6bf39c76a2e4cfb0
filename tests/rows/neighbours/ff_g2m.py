"""The contract row of FF-G2M."""

import graphkd
import graphkd.functional as G
from tests.oracles.neighbours.ff_g2m import ff_g2m
from tests.rows.row import DENSE, Loss

LOSS = Loss(
    "ff_g2m",
    graphkd.FFG2MLoss,
    G.ff_g2m_loss,
    ff_g2m,
    variants=(
        {},
        {"low_weight": 0.0, "high_temperature": 1.0},
        {"low_weight": 0.3, "high_weight": 2.0, "low_temperature": 2.0},
    ),
    backends=DENSE,
    logits=True,
    edges=True,
    edges_only=False,  # each node is compared with itself, too
    selects_first=False,  # the mean is over the pairs of the selected centres
    zero_at_self=False,  # a prediction cannot equal several neighbours that disagree
    bad_options=(
        {"low_weight": -1.0},
        {"high_weight": float("nan")},
        {"low_weight": 0.0, "high_weight": 0.0},
        {"low_temperature": 0.0},
        {"high_temperature": float("inf")},
    ),
)
