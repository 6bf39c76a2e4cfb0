"""The contract row of FSP."""

from typing import Any

import graphkd
import graphkd.functional as G
from tests.oracles.features.fsp import fsp
from tests.rows.row import DENSE, Loss, Options, usable


def _layers(h_s: Any, h_t: Any) -> tuple[Any, Any]:
    """Each matrix as a first layer, and with its columns reversed as a second layer."""
    return tuple((h, h.flip(1) if usable(h) else h) for h in (h_s, h_t))


def _graphs(h_s: Any, h_t: Any) -> Options:
    """Two graphs, by the sign of a node's first entry."""
    return {"batch": 5 * (h_t[:, 0] > 0).long() if usable(h_t) else None}


LOSS = Loss(
    "fsp",
    graphkd.FSPLoss,
    G.fsp_loss,
    fsp,
    backends=DENSE,
    one_width=True,
    arrange=_layers,
    more=_graphs,
    row_wise=False,
)
