"""The contract rows of TINED, VQGraph, LLP and MuGSI."""

from typing import Any

import torch
from torch import Tensor

import graphkd
import graphkd.functional as G
from tests.oracles import graph_levels as oracles
from tests.rows.row import DENSE, Loss, Options


def _usable(h: Any, columns: int = 1) -> bool:
    """Whether something that a test passes as embeddings can be computed with."""
    matrix = isinstance(h, Tensor) and h.dim() == 2 and h.size(1) >= columns
    return matrix and h.is_floating_point() and not h.is_sparse


def _layers(h_s: Any, h_t: Any) -> tuple[Any, Any]:
    """Each matrix as the input of an operation, and what a ReLU makes of it."""
    return tuple((h, h.relu() if _usable(h) else h) for h in (h_s, h_t))


def _codebook(h_s: Any, h_t: Any) -> Options:
    """Six codes that depend on no row, in float32 whatever the rows are."""
    if not _usable(h_t):
        return {"codebook": None}
    places = torch.arange(6 * h_t.size(1), device=h_t.device).view(6, -1)
    return {"codebook": (1.3 * places).cos()}


def _walks(h: Tensor, steps: int) -> Tensor:
    """For each node, itself and those that follow it in the order of the first column.

    A new order of the nodes gives them new numbers, and these with them.
    """
    n = h.size(0)
    order = h[:, 0].argsort(stable=True)
    place = order.argsort().unsqueeze(1) + torch.arange(steps + 1, device=h.device)
    return order[place % max(n, 1)]


def _context(h_s: Any, h_t: Any) -> Options:
    return {"context": _walks(h_t, 5) if _usable(h_t) else None}


def _levels(h_s: Any, h_t: Any) -> Options:
    """Graphs, and clusters within each, by the signs of a node's entries; and paths."""
    if not _usable(h_t):
        return {"batch": None, "clusters": None, "paths": None}
    batch, low, high = (h_t[:, i % h_t.size(1)] > 0 for i in range(3))
    clusters = low.long() - 2 * high.long()
    return {"batch": 5 * batch.long(), "clusters": clusters, "paths": _walks(h_t, 4)}


LOSSES = (
    Loss(
        "tined",
        graphkd.TINEDLoss,
        G.tined_loss,
        oracles.tined,
        variants=({}, {"measure": "root"}, {"measure": "log"}, {"normalized": True}),
        backends=DENSE,
        edges=True,
        arrange=_layers,
        row_wise=False,
        bad_options=({"measure": "square"}, {"normalized": 1}),
    ),
    Loss(
        "vqgraph",
        graphkd.VQGraphLoss,
        G.vqgraph_loss,
        oracles.vqgraph,
        variants=({}, {"temperature": 0.5}, {"similarity": "cosine"}),
        backends=DENSE,
        one_width=True,
        more=_codebook,
        bad_options=({"temperature": 0.0}, {"temperature": float("inf")}, {"similarity": "dot"}),
    ),
    Loss(
        "llp",
        graphkd.LLPLoss,
        G.llp_loss,
        oracles.llp,
        variants=(
            {},
            {"temperature": 0.5, "margin": 0.3, "rank_weight": 2.0},
            {"rank_weight": 0.0},
            {"distribution_weight": 0.0},
        ),
        backends=DENSE,
        more=_context,
        zero_at_self=False,  # a pair that the teacher does not tell apart adds the margin
        selects_first=False,  # contexts may lie outside of the selection
        poisonable=False,  # an infinite logit is a certain link
        bad_options=(
            {"decoder": "outer"},
            {"decoder": (len,)},
            {"temperature": 0.0},
            {"margin": -0.1},
            {"rank_weight": -1.0},
            {"rank_weight": 0.0, "distribution_weight": 0.0},
        ),
        of_seeds=False,  # contexts lie anywhere
    ),
    Loss(
        "mugsi",
        graphkd.MuGSILoss,
        G.mugsi_loss,
        oracles.mugsi,
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
    ),
)
