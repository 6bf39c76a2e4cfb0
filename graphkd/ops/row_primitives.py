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


def soft_targets(
    s: Tensor,
    t: Tensor,
    temperature: float = 1.0,
    kind: str = "softmax",
    degrees: int = 0,
    reduction: str = "none",
) -> Tensor:
    """T² KL(q_i ‖ p_i) of every row i; for ``kind="sigmoid"``, the mean over its columns.

    Args:
        s: Student logits.
        t: Teacher logits.
        temperature: T.
        kind: ``"softmax"`` or ``"sigmoid"``: how q and p follow from logits divided by T.
        degrees: The denominator of the variance by which rows become standard scores; 0 leaves
            them as they are.
        reduction: ``"none"``, or the ``"mean"`` or ``"sum"`` of these values.
    """
    by_hand = by_hand_serves(s) and not t.requires_grad
    way = chunked.soft_targets if by_hand else reference.soft_targets
    return way(s, t, float(temperature), kind, degrees, reduction)


def square_gap(s: Tensor, t: Tensor) -> Tensor:
    """The mean over the columns of (s_i − t_i)², for every row i."""
    way = chunked.square_gap if by_hand_serves(s) else reference.square_gap
    return way(s, t)


def boundary_gap(s: Tensor, t: Tensor, margin: float) -> Tensor:
    """The sum over the columns of relu(margin − sign(t_i) s_i)², for every row i."""
    way = chunked.boundary_gap if by_hand_serves(s) else reference.boundary_gap
    return way(s, t, margin)
