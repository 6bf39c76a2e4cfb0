"""Whether the nearest neighbours in either space are the same nodes."""

import torch
from torch import Tensor

from graphkd._checks import check_count
from graphkd._precision import exact, full_precision
from graphkd.diagnostics._gate import matched_sides, row_blocks, unit_side
from graphkd.ops._blocks import numbers, slices

# Cosines are compared as multiples of 2^-40, so that rounding breaks no tie.
_GRID = 40
# A tile of cosines holds at most this many numbers on a CPU: 32 MiB.
_TILE = 2**22


def neighbour_overlap(h_s: Tensor, h_t: Tensor, k: int = 10) -> Tensor:
    r"""How many of a node's nearest neighbours in the teacher's space are also the student's.

    .. math::
        \frac1N \sum_i \frac{\lvert \mathrm{kNN}_s(i) \cap \mathrm{kNN}_t(i)\rvert}{k}

    The k nearest neighbours of a node have the largest cosines to it; the node itself is left out.
    Cosines that differ by less than about 1e-12 are equal, and of equally near nodes those with the
    lower numbers are taken, so that the value does not depend on rounding. A row of zeros has the
    cosine 0 to all others.

    It lies between 0 and 1; of unrelated spaces it is about k/(N - 1). Of fewer than two rows it is
    NaN.

    It takes :math:`O(N^2 d)`, a block of rows at a time: a minute for 50,000 rows of width 128 on
    two cores. The memory is that of one side's unit rows in float64 and of the neighbours.

    Args:
        h_s: Student embeddings.
        h_t: Teacher embeddings, of any width.
        k: The number of neighbours, below N.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **output:** scalar, in float64

    Raises:
        ValueError: If row counts or devices differ, an input is not two-dimensional, or ``k`` is
            not from 1 to N - 1.
        TypeError: If an input is not a floating-point tensor, or ``k`` not an integer.

    Source: Schumacher et al., "The effects of randomness on the stability of node embeddings",
    arXiv 2005.10039, among others.

    Example:
        >>> import torch
        >>> from graphkd.diagnostics import neighbour_overlap
        >>> h_t = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
        >>> h_s = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.8, 0.2], [0.1, 0.9]])
        >>> neighbour_overlap(h_s, h_t, k=1)     # node 2 has another nearest node
        tensor(0.7500, dtype=torch.float64)
    """
    name = "neighbour_overlap"
    h_s, h_t = matched_sides(name, h_s, h_t)
    with torch.no_grad(), full_precision(h_s.device):
        check_neighbours(name, h_s, k)
        near_s, near_t = (nearest(unit_side(h), k) for h in (h_s, h_t))
        return shared(near_s, near_t)


def second_order_cosine(h_s: Tensor, h_t: Tensor, k: int = 10) -> Tensor:
    r"""How alike a node's similarities to its nearest neighbours are in both spaces.

    .. math::
        \frac1N \sum_i \cos\left(\left(\cos(s_i, s_j)\right)_{j \in U_i},
            \left(\cos(t_i, t_j)\right)_{j \in U_i}\right), \qquad
        U_i = \mathrm{kNN}_s(i) \cup \mathrm{kNN}_t(i)

    It asks more than :func:`neighbour_overlap`, which counts a neighbour that is only just lost
    like one that is far off.

    Nearest neighbours, ties and rows of zeros are those of :func:`neighbour_overlap`.

    It lies between -1 and 1, and is near 1 where all similarities are: see
    :func:`permutation_test`. A node whose similarities are all 0 counts as 0. Of fewer than two
    rows it is NaN.

    It takes :math:`O(N^2 d)`, a block of rows at a time, and memory for both sides' unit rows in
    float64.

    Args:
        h_s: Student embeddings.
        h_t: Teacher embeddings, of any width.
        k: The number of neighbours, below N.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **output:** scalar, in float64

    Raises:
        ValueError: If row counts or devices differ, an input is not two-dimensional, or ``k`` is
            not from 1 to N - 1.
        TypeError: If an input is not a floating-point tensor, or ``k`` not an integer.

    Source: Hamilton, Leskovec and Jurafsky, "Cultural Shift or Linguistic Drift?", EMNLP 2016,
    arXiv 1606.02821.

    Example:
        >>> import torch
        >>> from graphkd.diagnostics import second_order_cosine
        >>> h_t = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
        >>> h_s = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.8, 0.2], [0.1, 0.9]])
        >>> second_order_cosine(h_s, h_t, k=1)
        tensor(0.8584, dtype=torch.float64)
    """
    name = "second_order_cosine"
    h_s, h_t = matched_sides(name, h_s, h_t)
    with torch.no_grad(), full_precision(h_s.device):
        check_neighbours(name, h_s, k)
        s, t = unit_side(h_s), unit_side(h_t)
        return cosine_to_union(s, t, nearest(s, k), nearest(t, k))


def check_neighbours(measure: str, h: Tensor, k: int) -> None:
    """Raise unless the rows have k neighbours; of none and one, the measure is undefined."""
    check_count(f"{measure}: k", k, least=1)
    n = h.size(0)
    if n > 1 and k >= n:
        raise ValueError(
            f"{measure}: k must be below the number of rows; got k={k} for {n} rows. Each row has "
            f"{n - 1} others: use a smaller k, or more rows."
        )


def nearest(unit: Tensor, k: int) -> Tensor:
    """The k nearest rows of each unit row, without itself; of equally near rows the first.

    Rows that are not all known have no neighbours: all numbers are -1.
    """
    n = unit.size(0)
    near = torch.full((n, min(k, max(n - 1, 0))), -1, dtype=torch.long, device=unit.device)
    if n < 2 or bool(unit.isnan().any()):
        return near
    # A key holds the cosine and, where cosines are equal, puts the lower number first.
    bits = n.bit_length()
    grid = 2 ** min(_GRID, 62 - bits)
    last = torch.arange(n - 1, -1, -1, device=unit.device)
    for rows in slices(n, max(numbers(unit.device, _TILE) // n, 1)):
        keys = (unit[rows] @ unit.T).mul_(grid).round_().long().mul_(2**bits).add_(last)
        own = torch.arange(rows.start, rows.stop, device=unit.device)
        keys.scatter_(1, own[:, None], torch.iinfo(torch.long).min)
        near[rows] = n - 1 - (keys.topk(near.size(1)).values & (2**bits - 1))
    return near


def shared(near_s: Tensor, near_t: Tensor) -> Tensor:
    """The share of one side's neighbours that are the other's, too."""
    count = near_s.new_zeros(())
    for rows in row_blocks(near_s.device, near_s.size(0), near_s.size(1) ** 2):
        count += _among(near_t[rows], near_s[rows]).sum()
    value = exact(count) / near_s.numel()
    return value.masked_fill(_unknown(near_s, near_t), torch.nan)


def cosine_to_union(s: Tensor, t: Tensor, near_s: Tensor, near_t: Tensor) -> Tensor:
    """The mean cosine between a unit row's similarities to both sides' neighbours, s to t."""
    total = s.new_zeros(())
    for rows in row_blocks(s.device, s.size(0), 2 * near_s.size(1) * max(s.size(1), t.size(1))):
        union = torch.cat([near_s[rows], near_t[rows]], dim=1)
        fresh = torch.ones_like(union, dtype=torch.bool)
        fresh[:, near_s.size(1) :] = ~_among(near_t[rows], near_s[rows])
        a, b = ((u[union] @ u[rows, :, None]).squeeze(2) * fresh for u in (s, t))
        lengths = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1)
        total += (torch.linalg.vecdot(a, b) / lengths.masked_fill(lengths == 0, 1)).sum()
    value = (total / s.size(0)).clamp(min=-1, max=1)
    return value.masked_fill(_unknown(near_s, near_t), torch.nan)


def _among(some: Tensor, others: Tensor) -> Tensor:
    """Whether each number is one of the same row of the other."""
    return (some.unsqueeze(2) == others.unsqueeze(1)).any(dim=2)


def _unknown(near_s: Tensor, near_t: Tensor) -> Tensor:
    """Whether there are no neighbours, or unknown ones."""
    none = near_s.numel() == 0
    return (near_s < 0).any() | (near_t < 0).any() | none
