"""FF-G2M's high frequencies in their obvious form: the difference on every edge, E × C."""

from torch import Tensor

from graphkd.graph import Edges
from graphkd.ops.divergence import softmax_kl
from graphkd.ops.segments import segment_sum


def difference_divergence(z_s: Tensor, z_t: Tensor, edges: Edges, temperature: float) -> Tensor:
    """Σ KL(σ(|t_j − t_i|/T) ‖ σ(|s_j − s_i|/T)) over the edges j → i, for every node i."""
    p, q = (apart(z, edges.src, edges.dst).abs() / temperature for z in (z_s, z_t))
    return segment_sum(softmax_kl(q, p), edges.dst, edges.num_dst)


def apart(z: Tensor, src: Tensor, dst: Tensor) -> Tensor:
    """The difference of the two ends of every edge."""
    return z.index_select(0, src) - z.index_select(0, dst)
