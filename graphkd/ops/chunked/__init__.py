"""The primitives in plain torch with linear memory: row blocks of pairs, blocks of edges.

Each is a forward and a backward operator; the backward recomputes a block instead of keeping it.
The default on the CPU. Block sizes bound the working memory and change no value.
"""

from graphkd.ops.chunked.edges import edge_similarity
from graphkd.ops.chunked.infonce import infonce
from graphkd.ops.chunked.pairwise import pairwise_gap

__all__ = ["edge_similarity", "infonce", "pairwise_gap"]
