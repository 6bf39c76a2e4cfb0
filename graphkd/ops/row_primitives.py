"""The primitives that look at each row once, by both of their ways: what losses call."""

from torch import Tensor

from graphkd.ops import chunked, reference
from graphkd.ops.backends import by_hand_serves


def unit_gap(s: Tensor, t: Tensor) -> Tensor:
    """The mean over the columns of (s_i/‖s_i‖ − t_i/‖t_i‖)², for every row i."""
    return chunked.unit_gap(s, t) if by_hand_serves(s) else reference.unit_gap(s, t)


def attention_gap(s: Tensor, t: Tensor, graph: Tensor | None) -> Tensor:
    """The squared difference of every node's attention; ``graph`` numbers each row's graph."""
    way = chunked.attention_gap if by_hand_serves(s) else reference.attention_gap
    return way(s, t, graph)
