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
    scale: Tensor | float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The mean of scale_i · row_i over all ranks' rows i, its gradient, and row_i.

    row_i is the mean over all j of (k(s_i, s_j) − k(t_i, t_j))². The last two, and a ``scale`` that
    differs between rows, are of this rank's rows.
    """
    n, width = ranks.total(), s.size(1)
    mine, end = torch.cat([s, t], dim=1), width + t.size(1)
    if isinstance(scale, Tensor):
        mine = torch.cat([mine, scale[:, None].to(s.dtype)], dim=1)
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

    here, rows = sides(s, t, need_s), exact(s.new_zeros(s.size(0)))
    for owner, block in ranks.ring(mine, ranks.rows()):
        own = owner == ranks.rank
        there = here if own else sides(block[:, :width], block[:, width:end], False)
        tiles = (
            mirrored_tiles(s, size)
            if own
            else itertools.product(slices(s.size(0), size), slices(block.size(0), size))
        )
        for i, j in tiles:
            # A pair counts in row i and in row j, with both rows' scales.
            both = mine[i, end:] + block[j, end] if isinstance(scale, Tensor) else 2 * scale
            squares = tile_squares(here, there, i, j, both * (2 / n**2))
            rows[i] += squares.sum(dim=1)
            if own and i != j:
                rows[j] += squares.sum(dim=0)
    rows /= n
    return ranks.sum((rows * scale).sum()) / n, here[0].finished_gradient(), rows
