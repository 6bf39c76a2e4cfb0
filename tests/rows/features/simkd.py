"""The contract row of SimKD."""

import torch

import graphkd
import graphkd.functional as G
from tests.oracles.features.simkd import simkd
from tests.rows.row import Loss

LOSS = Loss(
    "simkd",
    graphkd.SimKDLoss,
    G.simkd_loss,
    simkd,
    one_width=True,
    # Wrapped, it shows no width to check, because the tests build the loss at several widths.
    built_with={"classifier": torch.nn.Sequential(torch.nn.Linear(7, 3))},
    module_only=frozenset({"classifier", "classifier_takes_edges"}),
)
