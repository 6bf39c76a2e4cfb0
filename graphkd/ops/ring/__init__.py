"""The primitives over the ranks of a process group: each has rows, and sees the others' rows.

They use the tiles and moments of ``chunked`` outside autograd, and give gradients with values.
"""

from graphkd.ops.ring.batch_norm import batch_norm
from graphkd.ops.ring.infonce import infonce
from graphkd.ops.ring.moments import moment_gap
from graphkd.ops.ring.pairwise import pairwise_gap
from graphkd.ops.ring.soft_infonce import soft_infonce

__all__ = ["batch_norm", "infonce", "moment_gap", "pairwise_gap", "soft_infonce"]
