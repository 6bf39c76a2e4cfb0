"""The contract row of LLP."""

from typing import Any

import graphkd
import graphkd.functional as G
from tests.oracles.levels.llp import llp
from tests.rows.row import DENSE, Loss, Options, usable, walks


def _context(h_s: Any, h_t: Any) -> Options:
    return {"context": walks(h_t, 5) if usable(h_t) else None}


LOSS = Loss(
    "llp",
    graphkd.LLPLoss,
    G.llp_loss,
    llp,
    variants=(
        {},
        {"temperature": 0.5, "margin": 0.3, "rank_weight": 2.0},
        {"rank_weight": 0.0},
        {"distribution_weight": 0.0},
    ),
    backends=DENSE,
    more=_context,
    zero_at_self=False,  # a pair with equal teacher scores adds the margin
    selects_first=False,  # contexts may lie outside the selection
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
)
