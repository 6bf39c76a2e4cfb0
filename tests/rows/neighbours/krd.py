"""The contract row of KRD."""

from typing import Any

import graphkd
import graphkd.functional as G
from tests.oracles.neighbours.krd import krd
from tests.rows.row import Loss, Options, usable


def _reliability(z_s: Any, z_t: Any) -> Options:
    """A number between 0 and 1 for each node, from its own logits."""
    return {"reliability": z_t[:, 0].double().sigmoid() if usable(z_t) else None}


LOSS = Loss(
    "krd",
    graphkd.KRDLoss,
    G.krd_loss,
    krd,
    variants=({}, {"alpha": 0.5, "temperature": 2.0}, {"alpha": 3.0}),
    logits=True,
    edges=True,
    edges_only=False,  # each node is compared with itself, too
    selects_first=False,  # the mean is over the pairs of the selected centres
    zero_at_self=False,  # a prediction cannot equal several neighbours that disagree
    more=_reliability,
    module_only=frozenset({"momentum", "bins"}),
    bad_options=(
        {"alpha": 0.0},
        {"alpha": float("nan")},
        {"temperature": 0.0},
        {"temperature": float("inf")},
    ),
)
