"""Whether the similarities within either space go together: of all pairs, and along the edges."""

from typing import Any

import torch
from torch import Tensor

from graphkd._precision import full_precision
from graphkd.diagnostics._gate import matched_sides, row_blocks, unit_block
from graphkd.diagnostics._moments import (
    Moments,
    Second,
    merge,
    moments_of,
    no_moments,
    side_moments,
)
from graphkd.graph import resolve_edges

# Of a sum that is zero, rounding leaves less than this part of its terms; unit rows that are equal
# lie less than the square root of this apart.
_LEAST, _LEAST_SQUARE = 1e-12, 1e-28
_EPS = torch.finfo(torch.float64).eps


def global_structure_correlation(h_s: Tensor, h_t: Tensor) -> Tensor:
    """Global."""
    h_s, h_t = matched_sides("global_structure_correlation", h_s, h_t)
    with torch.no_grad(), full_precision(h_s.device):
        return correlation_of_pairs(side_moments(h_s, h_t, unit=True).second)


def local_structure_correlation(h_s: Tensor, h_t: Tensor, edge_index: Any) -> Tensor:
    """Local."""
    h_s, h_t = matched_sides("local_structure_correlation", h_s, h_t)
    with torch.no_grad(), full_precision(h_s.device):
        return correlation_of_edges(edge_moments(h_s, h_t, edge_index))


def correlation_of_pairs(m: Second) -> Tensor:
    r"""Pearson's correlation of the cosines of all pairs, from the moments of unit rows.

    With :math:`s_i = \bar s + a_i`, the cosine less :math:`\lVert\bar s\rVert^2` is
    :math:`\alpha_i + \alpha_j + \langle a_i, a_j\rangle`, where :math:`\alpha_i` is half of
    :math:`r_i - \lVert a_i\rVert^2` less its mean. A cosine itself has lost the digits in which
    crowded rows differ.
    """
    pairs = []
    terms = []
    for whole, diagonal, x in zip(m.kernel_products, m.diagonals, (m.cross, m.s, m.t), strict=True):
        zeros = x[-1, -1]
        ends = (zeros - x[-1, -2] - x[-2, -1] + x[-2, -2]) * (m.count / 2)
        pairs.append(whole + ends - zeros - diagonal)
        terms.append(whole + ends)
    n = max(m.count, 1)
    still = [
        (v <= _LEAST * most) | (square <= _LEAST_SQUARE * n)
        for v, most, square in zip(pairs[1:], terms[1:], m.squares, strict=True)
    ]
    return _pearson(pairs, torch.stack(still))


def edge_moments(h_s: Tensor, h_t: Tensor, edge_index: Any) -> Moments:
    """The moments of both sides' cosines along the edges, less 1, of which each is one row."""
    name = "local_structure_correlation"
    edges = resolve_edges(name, edge_index, h_s.size(0), h_s.size(0), h_s.device)
    src, dst = without_loops(edges.src, edges.dst)
    total = no_moments(1, 1, h_s)
    for block in row_blocks(h_s.device, src.size(0), h_s.size(1) + h_t.size(1)):
        s, t = (
            below_one(*(unit_block(h.index_select(0, end[block])) for end in (src, dst)))
            for h in (h_s, h_t)
        )
        total = merge(total, moments_of(s, t, scaled=False))
    return total


def without_loops(src: Tensor, dst: Tensor) -> tuple[Tensor, Tensor]:
    """The edges that are not self loops."""
    kept = src != dst
    return src[kept], dst[kept]


def below_one(x: Tensor, y: Tensor) -> Tensor:
    """The cosines of unit or zero rows, less 1, as a column; it keeps the digits of near rows."""
    there = sum((h != 0).any(dim=1, keepdim=True).to(h.dtype) for h in (x, y))
    return (there - 2 - (x - y).square().sum(dim=1, keepdim=True)) / 2


def correlation_of_edges(m: Moments) -> Tensor:
    """Pearson's correlation of two columns of cosines less 1, from their moments."""
    three = [x[0, 0] for x in (m.second.cross, m.second.s, m.second.t)]
    middles = (m.origin + m.mean)[[0, 3]].abs()
    # Rounding makes so much of equal cosines.
    still = torch.stack(three[1:]) <= (16 * _EPS) ** 2 * m.count * middles
    return _pearson(three, still)


def correlation_of_columns(s: Tensor, t: Tensor) -> Tensor:
    """The same from the columns themselves, if there is a row."""
    none = no_moments(1, 1, s)
    return correlation_of_edges(moments_of(s, t, scaled=False) if s.size(0) else none)


def _pearson(three: list[Tensor], still: Tensor) -> Tensor:
    """x_st / √(x_ss x_tt), from -1 to 1; NaN where a side does not vary."""
    value = three[0] / torch.stack(three[1:]).sqrt().prod()
    return value.clamp(min=-1, max=1).masked_fill(still.any(), torch.nan)
