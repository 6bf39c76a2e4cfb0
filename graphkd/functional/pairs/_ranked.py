"""Global LSP over the ranks of a process group."""

from typing import Any

import torch
from torch import Tensor

from graphkd._precision import full_precision
from graphkd.distributed import meet, reporting
from graphkd.functional._bandwidth import MOST_ROWS, bandwidth, pair_median, warn_if_saturated
from graphkd.functional._options import PairOptions
from graphkd.functional._precomputed import GlobalLSPTeacher
from graphkd.functional._ranked import attached, factor, learns, scale_of
from graphkd.functional._rows import check_generator, matched_rows, reduce_rows, row_weights
from graphkd.ops import ring
from graphkd.similarity import Gamma, Kernel


@torch.compiler.disable  # type: ignore[untyped-decorator]
def ranked_global_lsp(
    h_s: Tensor,
    h_t: Any,
    kernel: Kernel,
    gamma: Gamma,
    weight: Tensor | None,
    index: Tensor | None,
    generator: torch.Generator | None,
    how: PairOptions,
) -> Tensor:
    """Global LSP of all ranks' rows; the options are checked already."""
    loss = "global_lsp_loss"
    with reporting(how.process_group):
        if isinstance(h_t, GlobalLSPTeacher):
            raise ValueError(
                f"{loss}: a precomputed teacher does not go with process_group: it is that of one "
                "rank's rows. Pass h_t itself."
            )
        s, t, chosen = matched_rows(loss, h_s, h_t, index)
        weight = row_weights(loss, weight, h_s, chosen)
        check_generator(generator)
        warn_if_saturated(loss, kernel, gamma, t.size(1), lambda: pair_median(t[:32]))
    ranks = meet(
        loss,
        how.process_group,
        rows=[s.size(0)],
        needs=[learns(s)],
        student_width=s.size(1),
        teacher_width=t.size(1),
        dtype=s.dtype,
        kernel=kernel.name,
        gamma=gamma if isinstance(gamma, str) else float(gamma),
        reduction=how.reduction,
        tiles=how.chunk_size is not None,
        weight="none" if weight is None else "given",
    )
    n, need = ranks.total(), learns(s)
    if n == 0:
        return reduce_rows(s.sum(dim=1), how.reduction, weight)
    with torch.no_grad(), full_precision(s.device):
        x, (scale, divisor) = s.detach(), scale_of(weight, how.reduction, ranks)
        if kernel.inner and how.chunk_size is None:
            mean, gradient, rows = ring.moment_gap(x, t, kernel.unit, ranks, need, scale)
        else:
            few = ranks.draw(MOST_ROWS, generator, s.device) if gamma == "median" else None

            def width(rows: Tensor) -> Tensor:
                def median() -> Tensor:
                    return pair_median(rows if few is None else ranks.pick(rows, few))

                return bandwidth(kernel, gamma, rows, median)

            gammas = width(x), width(t)
            args = x, t, kernel, gammas, how.chunk_size, ranks, need
            mean, gradient, rows = ring.pairwise_gap(*args, scale)
    counted = n if how.reduction == "sum" else 1
    inputs, gradients = [s], [gradient]
    if weight is not None:
        pull = (rows if how.reduction == "sum" else rows - mean) / divisor
        inputs, gradients = [s, weight], [gradient, pull.to(weight.dtype)]
    return attached(mean * counted, inputs, gradients, counted * factor(ranks, how.ddp))
