"""FF-G2M's high frequencies in their obvious form: the difference on every edge, E × C."""

from torch import Tensor

from graphkd.graph import Edges
from graphkd.ops.divergence import softmax_kl
from graphkd.ops.segments import segment_sum


def difference_divergence(z_s: Tensor, z_t: Tensor, edges: Edges, temperature: float) -> Tensor:
    """Σ w_e KL(σ(|t_j − t_i|/T) ‖ σ(|s_j − s_i|/T)) over the edges e: j → i, for every node i."""
    p, q = (apart(z, edges.src, edges.dst).abs() / temperature for z in (z_s, z_t))
    values = softmax_kl(q, p)
    if edges.weight is not None:
        values = values * edges.weight
    return segment_sum(values, edges.dst, edges.num_dst)


def apart(z: Tensor, src: Tensor, dst: Tensor) -> Tensor:
    """The difference of the two ends of every edge."""
    return z.index_select(0, src) - z.index_select(0, dst)
