"""The contract row of FF-G2M."""

from typing import Any

from torch import Tensor

import graphkd
import graphkd.functional as G
from tests.oracles.neighbours.ff_g2m import edges_of, ff_g2m
from tests.rows.row import DENSE, Loss


def _terms(
    z_s: Tensor, z_t: Tensor, edge_index: Tensor, *, backend: str = "", **options: Any
) -> list[tuple[Tensor, Tensor]]:
    """Low and high frequencies, each with the number of every node's pairs."""
    pairs = z_t.new_zeros(z_t.size(0))
    for _, i, _ in edges_of(edge_index):
        pairs[i] += 1
    low, high = (
        ff_g2m(z_s, z_t, edge_index, **{**options, without: 0.0})
        for without in ("high_weight", "low_weight")
    )
    return [(low, pairs + 1), (high, pairs)]


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
    terms=_terms,
    zero_at_self=False,  # a prediction cannot equal several neighbours that disagree
    bad_options=(
        {"low_weight": -1.0},
        {"high_weight": float("nan")},
        {"low_weight": 0.0, "high_weight": 0.0},
        {"low_temperature": 0.0},
        {"high_temperature": float("inf")},
    ),
)
