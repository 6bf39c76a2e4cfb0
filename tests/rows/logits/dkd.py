"""The contract row of DKD."""

from typing import Any

import graphkd
import graphkd.functional as G
from tests.oracles.logits.dkd import dkd
from tests.rows.row import Loss, Options, usable


def _classes(h_s: Any, h_t: Any) -> Options:
    """The teacher's most likely class of each row, if the input allows one."""
    return {"y": h_t.detach().argmax(dim=1) if usable(h_t) else None}


LOSS = Loss(
    "dkd",
    graphkd.DKDLoss,
    G.dkd_loss,
    dkd,
    variants=({}, {"alpha": 0.5, "beta": 2.0, "temperature": 1.0}, {"alpha": 0.0}, {"beta": 0}),
    logits=True,
    more=_classes,
    bad_options=(
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"alpha": -1.0},
        {"beta": float("inf")},
        {"alpha": 0.0, "beta": 0.0},
    ),
)
