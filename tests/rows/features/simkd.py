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
    # Wrapped, it has no width that could be checked: the tests build the loss at several.
    built_with={"classifier": torch.nn.Sequential(torch.nn.Linear(7, 3))},
    module_only=frozenset({"classifier", "classifier_takes_edges"}),
)
