"""Attention transfer's row values, with a gradient that looks at the student's rows once.

Replaces ``(a_s - a_t).square()`` of ``a = F.normalize(x.square().sum(1), dim=0)``, for one graph or
for several.
"""

from typing import TypeAlias

import torch
from torch import Tensor

from graphkd.ops._autograd import by_hand
from graphkd.ops._blocks import row_products
from graphkd.ops.reference.attention_gap import attention_gap as law
from graphkd.ops.segments import segment_sum

# A graph's norm within these is made of squares that neither overflow nor vanish.
_LEAST, _MOST = 1e-15, 1e15

# A side's energies, and the norm of those of each node's graph: one number if there is one graph.
Side: TypeAlias = tuple[Tensor, Tensor]


def attention_gap(x_s: Tensor, x_t: Tensor, graph: Tensor | None) -> Tensor:
    """The squared difference of every node's attention; only the student gets a gradient."""
    if x_s.size(0):
        sides = [_side(x.detach(), graph) for x in (x_s, x_t)]
        if all(_in_range(norm) for _, norm in sides):
            return _attention_gap(x_s, x_t, graph, *sides)
    return law(x_s, x_t, graph)


def _in_range(norm: Tensor) -> bool:
    least, most = (norm, norm) if norm.dim() == 0 else norm.aminmax()
    return least.item() > _LEAST and most.item() < _MOST


def _side(x: Tensor, graph: Tensor | None) -> Side:
    energy = row_products(x, x)
    if graph is None:
        return energy, torch.linalg.vector_norm(energy)
    norms = segment_sum(energy.square(), graph, energy.size(0)).sqrt_()
    return energy, norms.index_select(0, graph)


def _forward(
    x_s: Tensor,
    x_t: Tensor,
    graph: Tensor | None,
    student: Side,
    teacher: Side,
    need_s: bool,
    need_t: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The values, the student's attention, and the gaps."""
    attention = student[0] / student[1]
    gap = attention - teacher[0] / teacher[1]
    return gap.square(), attention, gap


def _backward(
    grad: Tensor,
    attention: Tensor,
    gap: Tensor,
    x_s: Tensor,
    x_t: Tensor,
    graph: Tensor | None,
    student: Side,
    teacher: Side,
) -> tuple[Tensor, Tensor]:
    """With f_i = g_i · gap_i, the gradient for s_i is 4 s_i (f_i − a_i ⟨a, f⟩) / norm_i."""
    pull = gap * grad
    if graph is None:
        along = torch.dot(attention, pull)
    else:
        along = segment_sum(attention * pull, graph, pull.numel()).index_select(0, graph)
    pull.addcmul_(attention, along, value=-1).div_(student[1]).mul_(4)
    return x_s * pull.unsqueeze(-1), x_t.new_empty(0)


_attention_gap = by_hand(lambda x_s, x_t, graph, *_: law(x_s, x_t, graph), _forward, _backward)
