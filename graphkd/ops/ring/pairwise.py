"""Global LSP over ranks: each rank compares its rows with the blocks that visit it.

Kernels are symmetric. So the gradient for a rank's rows needs only these rows and the blocks, and
no gradient travels.
"""

import itertools

import torch
from torch import Tensor

from graphkd._precision import exact
from graphkd.distributed import Ranks
from graphkd.ops._blocks import side, slices
from graphkd.ops.chunked.pairwise import SIDE, mirrored_tiles
from graphkd.ops.chunked.statistics import Side, centre_of, sample_step, tile_squares
from graphkd.similarity import Kernel


def pairwise_gap(
    s: Tensor,
    t: Tensor,
    kernel: Kernel,
    gammas: tuple[Tensor, Tensor],
    chunk_size: int | None,
    ranks: Ranks,
    need_s: bool,
) -> tuple[Tensor, Tensor]:
    """The mean over all pairs of all ranks' rows, and its gradient for this rank's rows."""
    n, width = ranks.total(), s.size(1)
    size = chunk_size or side(s.device, SIDE)
    centres: list[Tensor | None] = [None, None]
    if kernel.statistic == "square":
        some = torch.arange(0, n, sample_step(n), device=s.device)
        centres = [centre_of(ranks.pick(x, some)) for x in (s, t)]

    def sides(student: Tensor, teacher: Tensor, learns: bool) -> list[Side]:
        return [
            Side(kernel, student, gammas[0], learns, centres[0]),
            Side(kernel, teacher, gammas[1], False, centres[1]),
        ]

    here, total = sides(s, t, need_s), exact(s.new_zeros(()))
    for owner, block in ranks.ring(torch.cat([s, t], dim=1), ranks.rows()):
        own = owner == ranks.rank
        there = here if own else sides(block[:, :width], block[:, width:], False)
        tiles = (
            mirrored_tiles(s, size)
            if own
            else itertools.product(slices(s.size(0), size), slices(block.size(0), size))
        )
        for i, j in tiles:
            squares = tile_squares(here, there, i, j, 4 / n**2)
            total += exact(squares.sum()) * (2 if own and i != j else 1)
    return ranks.sum(total) / n**2, here[0].finished_gradient()
