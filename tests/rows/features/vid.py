"""The contract row of VID."""

import math
from typing import Any

import torch

import graphkd
import graphkd.functional as G
from tests.oracles.features.vid import vid
from tests.rows.row import Loss, Options, usable


def _alpha(h_s: Any, h_t: Any) -> Options:
    """The variances that the Module begins with: float32, whatever the dtype of the rows."""
    if not usable(h_t):
        return {"alpha": None}
    first = math.log(math.expm1(5 - 1e-5))
    return {"alpha": torch.full((h_t.size(1),), first, device=h_t.device)}


LOSS = Loss(
    "vid",
    graphkd.VIDLoss,
    G.vid_loss,
    vid,
    one_width=True,
    zero_at_self=False,  # a log density
    more=_alpha,
    module_only=frozenset({"init_pred_var"}),
    function_only=frozenset({"alpha"}),
    bad_options=({"eps": 0.0}, {"eps": -1.0}, {"eps": float("nan")}),
)
