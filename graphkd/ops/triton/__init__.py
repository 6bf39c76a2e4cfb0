"""The primitives as Triton programs for GPUs: no intermediate of N × N or E × d.

Each is a forward and a backward operator. The backward operator recomputes tiles instead of keeping
them. A program owns its rows of the output and adds nothing atomically, so that results are the
same bit for bit on every run. Importing this package needs triton.
"""

from graphkd.ops.triton.edges import edge_similarity
from graphkd.ops.triton.infonce import infonce, symmetric_infonce
from graphkd.ops.triton.pairwise import pairwise_gap

__all__ = ["edge_similarity", "infonce", "pairwise_gap", "symmetric_infonce"]
