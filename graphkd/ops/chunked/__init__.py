"""The primitives in plain torch with linear memory: blocks of pairs, moments, blocks of edges.

They are the default on the CPU. A primitive of quadratic time visits each block of pairs once if it
can, and computes the gradients in the forward pass. Block sizes bound the working memory and change
no value.
"""

from graphkd.ops.chunked.angles import angle_gap
from graphkd.ops.chunked.attention_gap import attention_gap
from graphkd.ops.chunked.boundary_gap import boundary_gap
from graphkd.ops.chunked.code_divergence import code_divergence
from graphkd.ops.chunked.distances import distance_gap, mean_distance
from graphkd.ops.chunked.edge_differences import difference_divergence
from graphkd.ops.chunked.edge_divergence import edge_divergence
from graphkd.ops.chunked.edges import edge_similarity, edge_squares
from graphkd.ops.chunked.flows import flow_gap
from graphkd.ops.chunked.grouped import grouped_gap
from graphkd.ops.chunked.infonce import infonce
from graphkd.ops.chunked.moment_rows import moment_gap_rows
from graphkd.ops.chunked.moments import moment_gap, teacher_gram
from graphkd.ops.chunked.nce import nce
from graphkd.ops.chunked.pairwise import pairwise_gap
from graphkd.ops.chunked.row_divergence import row_divergence
from graphkd.ops.chunked.soft_infonce import soft_infonce
from graphkd.ops.chunked.soft_targets import soft_targets
from graphkd.ops.chunked.square_gap import square_gap
from graphkd.ops.chunked.stars import star_products
from graphkd.ops.chunked.symmetric import symmetric_infonce
from graphkd.ops.chunked.unit_gap import unit_gap

__all__ = [
    "angle_gap",
    "attention_gap",
    "boundary_gap",
    "code_divergence",
    "difference_divergence",
    "distance_gap",
    "edge_divergence",
    "edge_similarity",
    "edge_squares",
    "flow_gap",
    "grouped_gap",
    "infonce",
    "mean_distance",
    "moment_gap",
    "moment_gap_rows",
    "nce",
    "pairwise_gap",
    "row_divergence",
    "soft_infonce",
    "soft_targets",
    "square_gap",
    "star_products",
    "symmetric_infonce",
    "teacher_gram",
    "unit_gap",
]
