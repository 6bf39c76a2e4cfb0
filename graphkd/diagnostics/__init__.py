"""How alike two representations are."""

from graphkd.diagnostics.alignment import linear_cka, procrustes_disparity
from graphkd.diagnostics.neighbours import neighbour_overlap, second_order_cosine
from graphkd.diagnostics.permutation import PermutationTest, permutation_test
from graphkd.diagnostics.predictions import agreement
from graphkd.diagnostics.structure import (
    global_structure_correlation,
    local_structure_correlation,
)

__all__ = [
    "PermutationTest",
    "agreement",
    "global_structure_correlation",
    "linear_cka",
    "local_structure_correlation",
    "neighbour_overlap",
    "permutation_test",
    "procrustes_disparity",
    "second_order_cosine",
]
