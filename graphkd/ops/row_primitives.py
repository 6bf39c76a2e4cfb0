"""The primitives that look at each row once: the plain form, or one by hand where that serves."""

from torch import Tensor

from graphkd.ops import chunked, reference
from graphkd.ops.backends import by_hand_serves
from graphkd.ops.reference.soft_targets import Softening, usual


def unit_gap(s: Tensor, t: Tensor) -> Tensor:
    """The mean over the columns of (s_i/‖s_i‖ − t_i/‖t_i‖)², for every row i."""
    way = chunked.unit_gap if by_hand_serves(s) else reference.unit_gap
    return way(s, t)


def attention_gap(s: Tensor, t: Tensor, graph: Tensor | None) -> Tensor:
    """The squared difference of every node's attention; ``graph`` numbers each row's graph."""
    way = chunked.attention_gap if by_hand_serves(s) else reference.attention_gap
    return way(s, t, graph)


def square_gap(s: Tensor, t: Tensor) -> Tensor:
    """The mean over the columns of (s_i − t_i)², for every row i."""
    way = chunked.square_gap if by_hand_serves(s) else reference.square_gap
    return way(s, t)


def boundary_gap(s: Tensor, t: Tensor, margin: float) -> Tensor:
    """The sum over the columns of relu(margin − sign(t_i) s_i)², for every row i."""
    way = chunked.boundary_gap if by_hand_serves(s) else reference.boundary_gap
    return way(s, t, margin)


def soft_targets(s: Tensor, t: Tensor, how: Softening | None = None) -> Tensor:
    """T² D(q_i, p_i) of each row i, from student logits s and teacher logits t."""
    how = how or Softening()
    by_hand = usual(how) and by_hand_serves(s) and not t.requires_grad
    way = chunked.soft_targets if by_hand else reference.soft_targets
    return way(s, t, how)
