"""The contract row of G-CRD."""

import graphkd
import graphkd.functional as G
from tests.oracles.contrast.gcrd import gcrd
from tests.rows.row import RELATIVE, Loss

LOSS = Loss(
    "gcrd",
    graphkd.GCRDLoss,
    G.gcrd_loss,
    gcrd,
    variants=(
        {},
        {"symmetric": True},
        {"temperature": 0.5},
        {"num_negatives": 4, "symmetric": True, "temperature": 0.5},
        {"teacher_temperature": 0.1, "temperature": 0.2},
        {"teacher_temperature": 0.5, "temperature": 0.5, "symmetric": True},
    ),
    draws=frozenset({"num_negatives"}),
    backends=RELATIVE,
    without_programs=frozenset({"teacher_temperature"}),
    one_width=True,
    scale_free=True,
    zero_at_self=False,
    masks_compile=False,
    bad_options=(
        {"temperature": 0.0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"max_samples": 1},
        {"max_samples": 8, "reduction": "none"},
        {"num_negatives": 1},
        {"num_negatives": 4, "max_samples": 8},
        {"teacher_temperature": 0.0},
        {"teacher_temperature": float("nan")},
        {"teacher_temperature": 0.1, "num_negatives": 4},
        {"teacher_temperature": 0.1, "backend": "triton"},
    ),
)
