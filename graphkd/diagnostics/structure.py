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
    r"""Whether pairs of nodes that are alike to the teacher are alike to the student.

    .. math::
        \mathrm{corr}_{i < j}\left(\cos(s_i, s_j), \cos(t_i, t_j)\right)

    Pearson's correlation over all pairs of nodes, from -1 to 1: the Mantel statistic by which the
    paper shows how much of the global structure a student keeps. It does not depend on the length
    of rows, or on rotations of either side; shifts do change it. A row of zeros has the cosine 0
    to all others, as in the losses.

    It is NaN if all cosines of one side are equal, to the rounding, as there is nothing to
    correlate: so of fewer than three rows, and of rows that all have one direction.

    It takes :math:`O(N d^2)`, from moments of the unit rows, and memory for a block of rows and
    :math:`d \times d` moments. Rows that lie close together, far from the origin, keep their
    digits.

    Args:
        h_s: Student embeddings.
        h_t: Teacher embeddings, of any width.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **output:** scalar, in float64

    Raises:
        ValueError: If row counts or devices differ, or an input is not two-dimensional.
        TypeError: If an input is not a floating-point tensor.

    Source: Joshi, Liu, Xu, Lin and Foo, TNNLS 2022, arXiv 2111.04964; the statistic of Mantel,
    Cancer Research 1967.

    Example:
        >>> import torch
        >>> from graphkd.diagnostics import global_structure_correlation
        >>> h_t = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])     # cosines √½, 0, √½
        >>> h_s = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])     # cosines 1, 0, 0
        >>> global_structure_correlation(h_s, h_t)
        tensor(0.5000, dtype=torch.float64)
    """
    h_s, h_t = matched_sides("global_structure_correlation", h_s, h_t)
    with torch.no_grad(), full_precision(h_s.device):
        return correlation_of_pairs(side_moments(h_s, h_t, unit=True).second)


def local_structure_correlation(h_s: Tensor, h_t: Tensor, edge_index: Any) -> Tensor:
    r"""Whether neighbours in the graph that are alike to the teacher are alike to the student.

    .. math::
        \mathrm{corr}_{(j, i) \in E,\, j \ne i}\left(\cos(s_j, s_i), \cos(t_j, t_i)\right)

    Pearson's correlation along the edges, from -1 to 1: by it the paper shows how much of the local
    structure a student keeps. Self loops are left out; an edge that occurs twice counts twice, and
    one in both directions, too. A row of zeros has the cosine 0 to all others.

    It is NaN if all cosines of one side are equal, to the rounding: so of fewer than two edges.

    It takes :math:`O(E d)`, and memory for a block of edges. Neighbours that lie close together,
    far from the origin, keep their digits.

    Args:
        h_s: Student embeddings.
        h_t: Teacher embeddings, of any width.
        edge_index: Edges j → i in any format that :class:`graphkd.Graph` takes, or a Graph. Its
            weights do not count.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **edge_index:** :math:`[2, E]`
        - **output:** scalar, in float64

    Raises:
        ValueError: If row counts or devices differ, or an input has the wrong shape.
        TypeError: If an input is not a floating-point tensor, or the graph has no known format.
        IndexError: If an edge names a node that does not exist.

    Source: Joshi, Liu, Xu, Lin and Foo, TNNLS 2022, arXiv 2111.04964.

    Example:
        >>> import torch
        >>> from graphkd.diagnostics import local_structure_correlation
        >>> h_t = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
        >>> h_s = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
        >>> edge_index = torch.tensor([[0, 0, 1], [1, 2, 2]])            # all pairs
        >>> local_structure_correlation(h_s, h_t, edge_index)
        tensor(0.5000, dtype=torch.float64)
    """
    name = "local_structure_correlation"
    h_s, h_t = matched_sides(name, h_s, h_t)
    with torch.no_grad(), full_precision(h_s.device):
        return correlation_of_edges(edge_moments(name, h_s, h_t, edge_index))


def correlation_of_pairs(m: Second) -> Tensor:
    r"""Pearson's correlation of the cosines of all pairs, from the moments of unit rows.

    With :math:`s_i = \bar s + a_i`, the cosine less :math:`\lVert\bar s\rVert^2` is
    :math:`\alpha_i + \alpha_j + \langle a_i, a_j\rangle`, where :math:`\alpha_i` is half of
    :math:`r_i - \lVert a_i\rVert^2` less its mean. A cosine itself has lost the digits in which
    crowded rows differ.
    """
    ends = [x.gaps * (m.n / 2) for x in m.three]
    three = [x.pairs + e - x.zeros - x.diagonal for x, e in zip(m.three, ends, strict=True)]
    terms = [x.pairs + e for x, e in zip(m.three, ends, strict=True)][1:]
    equal = torch.stack(m.squares) <= _LEAST_SQUARE * m.n
    return _pearson(three, (torch.stack(three[1:]) <= _LEAST * torch.stack(terms)) | equal)


def edge_moments(measure: str, h_s: Tensor, h_t: Tensor, edge_index: Any) -> Moments:
    """The moments of both sides' cosines along the edges, less 1, of which each is one row."""
    edges = resolve_edges(measure, edge_index, h_s.size(0), h_s.size(0), h_s.device)
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
    still = torch.stack(three[1:]) <= (16 * _EPS) ** 2 * m.n * middles
    return _pearson(three, still)


def correlation_of_columns(s: Tensor, t: Tensor) -> Tensor:
    """The same from the columns themselves, if there is a row."""
    none = no_moments(1, 1, s)
    return correlation_of_edges(moments_of(s, t, scaled=False) if s.size(0) else none)


def _pearson(three: list[Tensor], still: Tensor) -> Tensor:
    """x_st / √(x_ss x_tt), from -1 to 1; NaN where a side does not vary."""
    value = three[0] / torch.stack(three[1:]).sqrt().prod()
    return value.clamp(min=-1, max=1).masked_fill(still.any(), torch.nan)
