"""The contract row of KRD."""

from typing import Any

from torch import Tensor

import graphkd
import graphkd.functional as G
from tests.oracles.neighbours.ff_g2m import edges_of
from tests.oracles.neighbours.krd import krd
from tests.rows.row import Loss, Options, usable


def _reliability(z_s: Any, z_t: Any) -> Options:
    """A number between 0 and 1 for each node, from its own logits."""
    return {"reliability": z_t[:, 0].double().sigmoid() if usable(z_t) else None}


def _terms(
    z_s: Tensor, z_t: Tensor, edge_index: Tensor, **options: Any
) -> list[tuple[Tensor, Tensor]]:
    """The row values, and the weight of each node's pairs, the pair with itself among them."""
    reliability = _reliability(z_s, z_t)["reliability"]
    counts = z_t.new_ones(z_t.size(0))
    for j, i, _ in edges_of(edge_index):
        counts[i] += 1 - (1 - reliability[j]) ** options.get("alpha", 1.0)
    return [(krd(z_s, z_t, edge_index, reliability, **options), counts)]


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
    terms=_terms,
    module_only=frozenset({"momentum", "bins"}),
    bad_options=(
        {"alpha": 0.0},
        {"alpha": float("nan")},
        {"temperature": 0.0},
        {"temperature": float("inf")},
    ),
)
