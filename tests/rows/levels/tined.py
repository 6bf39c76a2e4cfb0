"""The contract row of TINED."""

from typing import Any

import graphkd
import graphkd.functional as G
from tests.oracles.levels.tined import tined
from tests.rows.row import DENSE, Loss, usable


def _layers(h_s: Any, h_t: Any) -> tuple[Any, Any]:
    """Each matrix as the input of an operation, and its ReLU as the output."""
    return tuple((h, h.relu() if usable(h) else h) for h in (h_s, h_t))


LOSS = Loss(
    "tined",
    graphkd.TINEDLoss,
    G.tined_loss,
    tined,
    variants=({}, {"measure": "root"}, {"measure": "log"}, {"normalized": True}),
    backends=DENSE,
    edges=True,
    edge_ratios=True,
    arrange=_layers,
    row_wise=False,
    bad_options=({"measure": "square"}, {"normalized": 1}),
)
