"""The contract row of CRD."""

from typing import Any

import torch
from torch import Tensor

import graphkd
import graphkd.functional as G
from tests.oracles.contrast.crd import crd
from tests.rows.row import DENSE, Loss, Options

NODES = 31


def _bank(width: int, phase: float) -> Tensor:
    """Unit rows that look random but are the same in each call, also while compiling."""
    at = torch.arange(NODES * width, dtype=torch.float64).view(NODES, width)
    entries = torch.sin(at.square() + phase)
    return entries / entries.norm(dim=1, keepdim=True)


def _banks(h_s: Any, h_t: Any) -> Options:
    """Banks and ids: an id is a function of its row, so that it follows it; some come twice."""
    if not all(isinstance(h, Tensor) and h.dim() == 2 and not h.is_sparse for h in (h_s, h_t)):
        return {"bank_s": _bank(1, 0.0), "bank_t": _bank(1, 1.0), "ids": None}
    width = h_s.size(1)
    first = h_t.detach()[:, :1].double().sum(dim=1).abs() * 1000
    ids = first.nan_to_num(0, 0, 0).long() % NODES
    return {"bank_s": _bank(width, 0.0), "bank_t": _bank(width, 1.0), "ids": ids}


LOSS = Loss(
    "crd",
    graphkd.CRDLoss,
    G.crd_loss,
    crd,
    variants=({}, {"temperature": 0.5}, {"log_z": 1.5}),
    backends=DENSE,
    one_width=True,
    scale_free=True,
    zero_at_self=False,
    bad_options=(
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"num_negatives": 0},
        {"log_z": float("inf")},
    ),
    more=_banks,
    # The entries stay as they are, so that a call changes nothing for the next one.
    built_with={"num_nodes": NODES, "momentum": 1.0},
    as_function={"head": "identity", "bank_s": _bank(5, 0.0), "bank_t": _bank(5, 1.0)},
    module_only=frozenset({"num_nodes", "momentum", "bank_s", "bank_t"}),
    function_only=frozenset({"bank_s", "bank_t"}),
)
