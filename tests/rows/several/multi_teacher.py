"""The contract row of the sum over teachers."""

from typing import Any

import graphkd
import graphkd.functional as G
from tests.oracles.several.multi_teacher import multi_teacher
from tests.rows.row import Loss, Options, split


def _teachers(h_s: Any, h_t: Any) -> tuple[Any, Any]:
    return h_s, split(h_t)


def _similarity_of(h_s: Any, h_t: Any, **arguments: Any) -> Any:
    return G.similarity_preserving_loss(h_s, h_t, reduction="none", **arguments)


def _inner(h_s: Any, h_t: Any) -> Options:
    return {"loss": _similarity_of}


LOSS = Loss(
    "multi_teacher",
    graphkd.MultiTeacherLoss,
    G.multi_teacher_loss,
    multi_teacher,
    variants=({"weights": (0.25, 0.75)}, {"weights": (0.5, 0.0)}),
    bad_options=(
        {"weights": "learned"},
        {"weights": (-1.0, 1.0)},
        {"weights": (1.0, float("inf"))},
        {"weights": (0.5, 0.5), "entropy": 0.1},
        {"weights": (0.5, 0.5), "entropy": -1.0},
    ),
    arrange=_teachers,
    more=_inner,
    built_with={"loss": graphkd.SimilarityPreservingLoss(reduction="none")},
    # The Module's ``weights`` may name a learned form; the function takes the weights as a tensor.
    # The Module's h_s and h_t may be called z_s and z_t instead.
    module_only=frozenset({"dims_s", "dims_t", "attention_dim", "weights", "h_s", "h_t"}),
    function_only=frozenset({"weights", "h_s", "h_t"}),
    zero_at_self=False,  # the second teacher is a part of the first
)
