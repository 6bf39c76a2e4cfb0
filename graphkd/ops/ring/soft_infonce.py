"""G-CRD with soft targets over ranks: the keys visit the anchors of every rank, twice.

The first round gives the sums over all keys, and the second one compares by them. In a third round,
the anchors visit the keys for the gradient of these: an anchor brings what meets them and its sums,
so that no gradient travels.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from graphkd._precision import exact
from graphkd.distributed import Ranks
from graphkd.ops._blocks import breadth, numbers, slices
from graphkd.ops.chunked.infonce import tile_height
from graphkd.ops.chunked.soft_infonce import BLOCK, Anchors, Comparison, Keys, Sums, prepare
from graphkd.ops.reference.soft_infonce import Targets


def soft_infonce(
    weights: Tensor | None,
    p: Tensor,
    q: Tensor,
    more: Tensor,
    further: Sequence[int],
    targets: Targets,
    temperature: float,
    chunk_size: int | None,
    ranks: Ranks,
    needs: tuple[bool, bool, bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """This rank's rows, and the gradients for its p and q of all ranks' Σ weight_i · row_i.

    Args:
        weights: The weights of this rank's rows; None: ones.
        p: Unit anchors, in float64.
        q: Unit keys, in float64.
        more: Further unit keys, of all ranks' anchors, in the dtype of the result.
        further: How many further keys each rank has.
        targets: The teacher's side.
        temperature: The temperature of the student's softmax.
        chunk_size: How many anchors make a block.
        ranks: The ranks.
        needs: Whether this rank needs the gradient for p; this rank, for q; any rank, for q.
    """
    need_p, need_q, any_q = needs
    anchors, own = prepare(p / temperature, q, more, targets, temperature)
    n, counts = p.size(0), [a + b for a, b in zip(ranks.rows(), further, strict=True)]
    longest, most = max(counts), numbers(more.device, BLOCK)
    height = tile_height(max(ranks.rows()), longest, chunk_size or 0, most)
    width = breadth(height, longest, most)
    room = Comparison(more, height, min(width, longest), sum(counts), temperature)
    blocks = list(slices(n, height))
    sums = [Sums.of_none(anchors.at(i)) for i in blocks]
    for keys in _visits(own, counts, ranks):
        for k, i in enumerate(blocks):
            for j in slices(keys.rows.size(0), width):
                sums[k] = room.measure(anchors.at(i), keys.at(j)).after(sums[k])
    rows = exact(p.new_zeros(n))
    grad_p = torch.zeros_like(anchors.student) if need_p else more.new_empty(0)
    grad_q = more.new_zeros(q.shape) if need_q else more.new_empty(0)
    for keys in _visits(own, counts, ranks):
        for i, known in zip(blocks, sums, strict=True):
            for j in slices(keys.rows.size(0), width):
                room.compare(anchors.at(i), keys.at(j), known)
                rows[i] += room.values()
                if need_p:
                    grad_p[i].addmm_(room.gap, keys.rows[j], alpha=-1 / temperature)
    if need_p and weights is not None:
        grad_p.mul_(weights[:, None])
    if not any_q:
        return rows, grad_p, grad_q
    counted = more.new_ones(n) if weights is None else weights
    for _, block in ranks.ring(_luggage(anchors, sums, counted), ranks.rows()):
        for i in slices(block.size(0), height) if need_q else ():
            others, known, weight = _unpacked(block[i], p.size(1))
            pushed = others.student * weight
            for j in slices(q.size(0), width):
                room.compare(others, own.at(j), known)
                grad_q[j].addmm_(room.gap.T, pushed, alpha=-1)
    return rows, grad_p, grad_q


def _visits(own: Keys, counts: Sequence[int], ranks: Ranks) -> Iterator[Keys]:
    """The keys of all ranks in turn."""
    given = own.rows if own.targets is None else torch.cat([own.rows, own.targets], dim=1)
    for _, block in ranks.ring(given, counts):
        rows, targets = block.tensor_split([own.rows.size(1)], dim=1)
        yield Keys(rows, None if own.targets is None else targets, own.apart)


def _luggage(anchors: Anchors, sums: Sequence[Sums], weight: Tensor) -> Tensor:
    """What each anchor brings along: all that a comparison needs, in numbers of its own dtype."""
    dtype = weight.dtype
    none = Sums.of_none(anchors.at(slice(0)))  # a rank may have no anchors
    peak, total, c = (torch.cat(x) for x in zip(none, *sums, strict=True))
    high = c.to(dtype)
    return torch.cat(
        [*anchors, *(x.to(dtype) for x in (peak, total, high, c - high)), weight[:, None]], dim=1
    )


def _unpacked(block: Tensor, width: int) -> tuple[Anchors, Sums, Tensor]:
    """The same again; ``width`` is that of a student's row."""
    student, other, peak, total, high, low, weight = block.tensor_split(
        [width, *range(block.size(1) - 5, block.size(1))], dim=1
    )
    return Anchors(student, other), Sums(peak, total, exact(high) + exact(low)), weight
