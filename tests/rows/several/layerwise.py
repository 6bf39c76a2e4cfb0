"""The contract row of the sum over layers."""

from typing import Any

import graphkd
import graphkd.functional as G
from tests.oracles.several.layerwise import layerwise
from tests.rows.row import Loss, Options, split


def _layers(h_s: Any, h_t: Any) -> tuple[Any, Any]:
    return split(h_s), split(h_t)


def _attention_of(h_s: Any, h_t: Any, **arguments: Any) -> Any:
    return G.attention_transfer_loss(h_s, h_t, reduction="none", **arguments)


def _inner(h_s: Any, h_t: Any) -> Options:
    return {"loss": _attention_of}


LOSS = Loss(
    "layerwise",
    graphkd.LayerwiseLoss,
    G.layerwise_loss,
    layerwise,
    variants=(
        {},
        {"pairs": ((0, 0), (1, 0), (1, 1))},
        {"pairs": ((1, 1), (0, 0)), "weights": (0.25, 2.0)},
    ),
    bad_options=(
        {"pairs": "all"},
        {"pairs": ()},
        {"pairs": (0, 1)},
        {"pairs": ((0, 0),), "weights": (1.0, 2.0)},
        {"pairs": ((0, 0),), "weights": (float("nan"),)},
    ),
    arrange=_layers,
    more=_inner,
    built_with={"loss": graphkd.AttentionTransferLoss(reduction="none")},
    module_only=frozenset({"dims_s", "dims_t", "attention_dim"}),
    zero_at_self=False,  # a pair of different layers is not 0
)
