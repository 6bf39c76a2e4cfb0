"""The primitives in plain torch with linear memory: blocks of pairs, moments, blocks of edges.

The default on the CPU. What is quadratic in time looks at a block of pairs once where it can, and
makes the gradients in the forward pass. Block sizes bound the working memory and change no value.
"""

from graphkd.ops.chunked.edges import edge_similarity
from graphkd.ops.chunked.infonce import infonce
from graphkd.ops.chunked.moment_rows import moment_gap_rows
from graphkd.ops.chunked.moments import moment_gap, teacher_gram
from graphkd.ops.chunked.pairwise import pairwise_gap
from graphkd.ops.chunked.symmetric import symmetric_infonce

__all__ = [
    "edge_similarity",
    "infonce",
    "moment_gap",
    "moment_gap_rows",
    "pairwise_gap",
    "symmetric_infonce",
    "teacher_gram",
]
