"""The primitives in their obvious form: dense, never optimised; all other backends must match it.

Each primitive has its own file, named as in ``chunked``. Autograd differentiates them to any order.
To try another formula, change it here and pass ``backend="reference"``.
"""

from graphkd.ops.reference.angles import angle_gap
from graphkd.ops.reference.attention_gap import attention_gap
from graphkd.ops.reference.boundary_gap import boundary_gap
from graphkd.ops.reference.code_divergence import code_divergence
from graphkd.ops.reference.distances import distance_gap, mean_distance
from graphkd.ops.reference.edge_differences import difference_divergence
from graphkd.ops.reference.edge_divergence import edge_divergence
from graphkd.ops.reference.edges import edge_similarity, edge_squares
from graphkd.ops.reference.flows import flow_gap
from graphkd.ops.reference.grouped import grouped_gap
from graphkd.ops.reference.infonce import infonce, symmetric_infonce
from graphkd.ops.reference.nce import nce
from graphkd.ops.reference.pairwise import diagonal_gap, pairwise_gap
from graphkd.ops.reference.row_divergence import row_divergence
from graphkd.ops.reference.soft_infonce import soft_infonce
from graphkd.ops.reference.soft_targets import soft_targets
from graphkd.ops.reference.square_gap import square_gap
from graphkd.ops.reference.stars import star_products
from graphkd.ops.reference.unit_gap import unit_gap

__all__ = [
    "angle_gap",
    "attention_gap",
    "boundary_gap",
    "code_divergence",
    "diagonal_gap",
    "difference_divergence",
    "distance_gap",
    "edge_divergence",
    "edge_similarity",
    "edge_squares",
    "flow_gap",
    "grouped_gap",
    "infonce",
    "mean_distance",
    "nce",
    "pairwise_gap",
    "row_divergence",
    "soft_infonce",
    "soft_targets",
    "square_gap",
    "star_products",
    "symmetric_infonce",
    "unit_gap",
]
