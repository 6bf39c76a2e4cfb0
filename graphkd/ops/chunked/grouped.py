"""Gaps of inner products within groups of rows, in tiles, with the gradient.

Replaces ``(s @ s.T - t @ t.T).masked_fill(~same, 0).square().sum(dim=1)`` and its N × N matrices.
"""

import torch
from torch import Tensor

from graphkd.ops._autograd import empty_gradient, fused
from graphkd.ops._blocks import breadth, numbers, side, slices

_HEIGHT = 256


def grouped_gap(x_s: Tensor, x_t: Tensor, group: Tensor, chunk_size: int | None) -> Tensor:
    """Σ_j (⟨s_i, s_j⟩ − ⟨t_i, t_j⟩)² over the rows j of row i's group, for every row i.

    A negative group number means that the row is in no group. Only the student gets a gradient.
    """
    return _grouped_gap(x_s, x_t, group, chunk_size or 0)


def _sweep(
    weights: Tensor | None,
    x_s: Tensor,
    x_t: Tensor,
    group: Tensor,
    chunk_size: int,
    need_s: bool,
    need_t: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    rows = x_s.new_zeros(x_s.size(0))
    gradient = torch.zeros_like(x_s) if need_s else x_s.new_empty(0)
    # Rows are sorted by group. A block meets all rows from the start of its first group to the end
    # of its last group.
    ordered, order = group.sort(stable=True)
    order, ordered = order[ordered >= 0], ordered[ordered >= 0]
    s, t = x_s.index_select(0, order), x_t.index_select(0, order)
    first, last = (torch.searchsorted(ordered, ordered, right=side) for side in (False, True))
    most = numbers(x_s.device)
    # A GPU takes as many rows as columns.
    height = chunk_size or side(x_s.device, _HEIGHT)
    for i in slices(order.numel(), height):
        start, stop = int(first[i.start]), int(last[i.stop - 1])
        value, pull = rows.new_zeros(i.stop - i.start), torch.zeros_like(s[i])
        for tile in slices(stop - start, breadth(height, stop - start, most)):
            j = slice(start + tile.start, start + tile.stop)
            gap = torch.mm(s[i], s[j].T).addmm_(t[i], t[j].T, alpha=-1)
            gap.masked_fill_(ordered[i, None] != ordered[j], 0)
            value += gap.square().sum(dim=1)
            if need_s:
                # A pair counts in both of its rows, with both weights.
                if weights is None:
                    gap.mul_(4)
                else:
                    here, there = weights[order[i]], weights[order[j]]
                    gap.mul_(here[:, None] + there).mul_(2)
                pull.addmm_(gap, s[j])
        rows[order[i]] = value
        if need_s:
            gradient[order[i]] = pull
    return rows, gradient, empty_gradient(x_t, False)


_grouped_gap = fused("grouped_gap", _sweep, backend="chunked")
