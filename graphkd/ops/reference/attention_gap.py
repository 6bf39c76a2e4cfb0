"""Attention transfer's row values in their obvious form: every node's share of its graph."""

from torch import Tensor

from graphkd.ops.segments import segment_max, segment_sum


def attention_gap(x_s: Tensor, x_t: Tensor, graph: Tensor | None) -> Tensor:
    """The squared difference of every node's attention.

    Args:
        x_s: Student rows.
        x_t: Teacher rows, perhaps of another width.
        graph: The number of each row's graph, below the number of rows; None means one graph.
    """
    if graph is None:
        graph = x_s.new_zeros(x_s.size(0)).long()
    return (_attention(x_s, graph) - _attention(x_t, graph)).square()


def _attention(h: Tensor, graph: Tensor) -> Tensor:
    """The nodes' attention, of unit norm within each graph; zero where a graph is all zero."""
    n = h.size(0)
    # The scale of a graph does not change attention of unit norm. Dividing by it keeps squares of
    # squares in range, and detaching it is exact.
    largest = segment_max(h.detach().abs().amax(dim=1), graph, n).clamp(min=0)
    scale = largest.masked_fill(largest == 0, 1).index_select(0, graph)
    energy = (h / scale.unsqueeze(1)).square().sum(dim=1)
    norm = segment_sum(energy.square(), graph, n)
    return energy / norm.masked_fill(largest == 0, 1).sqrt().index_select(0, graph)
