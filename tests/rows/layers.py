"""The contract rows of the sums over layers and over teachers."""

from typing import Any

import graphkd
import graphkd.functional as G
from tests.oracles import layers as oracles
from tests.rows.row import Loss, Options


def _split(h: Any) -> list[Any]:
    """A matrix and its first columns, as two layers; what is no matrix, twice."""
    if getattr(h, "is_sparse", True) or h.dim() != 2:
        return [h, h]
    return [h, h[:, : (h.size(1) + 1) // 2]]


def _layers(h_s: Any, h_t: Any) -> tuple[Any, Any]:
    return _split(h_s), _split(h_t)


def _teachers(h_s: Any, h_t: Any) -> tuple[Any, Any]:
    return h_s, _split(h_t)


def _attention_of(h_s: Any, h_t: Any, **arguments: Any) -> Any:
    return G.attention_transfer_loss(h_s, h_t, reduction="none", **arguments)


def _similarity_of(h_s: Any, h_t: Any, **arguments: Any) -> Any:
    return G.similarity_preserving_loss(h_s, h_t, reduction="none", **arguments)


def _layerwise(h_s: Any, h_t: Any) -> Options:
    return {"loss": _attention_of}


def _multi_teacher(h_s: Any, h_t: Any) -> Options:
    return {"loss": _similarity_of}


LOSSES = (
    Loss(
        "layerwise",
        graphkd.LayerwiseLoss,
        G.layerwise_loss,
        oracles.layerwise,
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
        more=_layerwise,
        built_with={"loss": graphkd.AttentionTransferLoss(reduction="none")},
        module_only=frozenset({"dims_s", "dims_t", "attention_dim"}),
        zero_at_self=False,  # not where a pair crosses the layers
    ),
    Loss(
        "multi_teacher",
        graphkd.MultiTeacherLoss,
        G.multi_teacher_loss,
        oracles.multi_teacher,
        variants=({"weights": (0.25, 0.75)}, {"weights": (0.5, 0.0)}),
        bad_options=(
            {"weights": "learned"},
            {"weights": (-1.0, 1.0)},
            {"weights": (1.0, float("inf"))},
            {"weights": (0.5, 0.5), "entropy": 0.1},
            {"weights": (0.5, 0.5), "entropy": -1.0},
        ),
        arrange=_teachers,
        more=_multi_teacher,
        built_with={"loss": graphkd.SimilarityPreservingLoss(reduction="none")},
        # The Module's weights also name what it learns, which the function is given as a tensor;
        # its h_s and h_t may be called z_s and z_t instead.
        module_only=frozenset({"dims_s", "dims_t", "attention_dim", "weights", "h_s", "h_t"}),
        function_only=frozenset({"weights", "h_s", "h_t"}),
        zero_at_self=False,  # the second teacher is a part of the first
    ),
)
