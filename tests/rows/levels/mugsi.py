"""The contract row of MuGSI."""

from typing import Any

import graphkd
import graphkd.functional as G
from tests.oracles.levels.mugsi import mugsi
from tests.rows.row import DENSE, Loss, Options, usable, walks


def _levels(h_s: Any, h_t: Any) -> Options:
    """Graphs, and clusters within each, by the signs of a node's entries; and paths."""
    if not usable(h_t):
        return {"batch": None, "clusters": None, "paths": None}
    batch, low, high = (h_t[:, i % h_t.size(1)] > 0 for i in range(3))
    clusters = low.long() - 2 * high.long()
    return {"batch": 5 * batch.long(), "clusters": clusters, "paths": walks(h_t, 4)}


LOSS = Loss(
    "mugsi",
    graphkd.MuGSILoss,
    G.mugsi_loss,
    mugsi,
    variants=(
        {},
        {"graph_weight": 0.0, "path_weight": 0.0},
        {"cluster_weight": 0.0, "path_weight": 0.5},
        {"graph_weight": 0.0, "cluster_weight": 0.0},
    ),
    backends=DENSE,
    one_width=True,
    more=_levels,
    row_wise=False,
    bad_options=(
        {"path_weight": -1.0},
        {"graph_weight": float("nan")},
        {"graph_weight": 0.0, "cluster_weight": 0.0, "path_weight": 0.0},
    ),
)
