"""The contract row of VQGraph."""

from typing import Any

import torch

import graphkd
import graphkd.functional as G
from tests.oracles.levels.vqgraph import vqgraph
from tests.rows.row import DENSE, Loss, Options, usable


def _codebook(h_s: Any, h_t: Any) -> Options:
    """Six codes that depend on no row: float32, whatever the dtype of the rows."""
    if not usable(h_t):
        return {"codebook": None}
    places = torch.arange(6 * h_t.size(1), device=h_t.device).view(6, -1)
    return {"codebook": (1.3 * places).cos()}


LOSS = Loss(
    "vqgraph",
    graphkd.VQGraphLoss,
    G.vqgraph_loss,
    vqgraph,
    variants=({}, {"temperature": 0.5}, {"similarity": "cosine"}),
    backends=DENSE,
    one_width=True,
    more=_codebook,
    bad_options=({"temperature": 0.0}, {"temperature": float("inf")}, {"similarity": "dot"}),
)
