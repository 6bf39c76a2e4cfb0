"""The two terms of RKD, on checked rows: distances of pairs, and angles of triples."""

import torch
from torch import Tensor

from graphkd._checks import check_count
from graphkd.functional._rows import reduce_rows, sample_rows
from graphkd.ops import reference_pairs
from graphkd.ops._blocks import slices
from graphkd.ops.chunked import angles, distances
from graphkd.ops.chunked.statistics import centre_of, sample_step


def distance_term(
    s: Tensor, t: Tensor, reduction: str, backend: str, chunk_size: int | None
) -> Tensor:
    """The mean smooth L1 of the gaps between distances, each over the mean of its side."""
    if backend == "reference":
        s, t = (_over(h, reference_pairs.mean_distance(h)) for h in (_centred(s), _centred(t)))
        return reduce_rows(reference_pairs.distance_gap(s, t), reduction)
    s, t = (_over(h, distances.mean_distance(h, chunk_size)) for h in (_centred(s), _centred(t)))
    return reduce_rows(distances.distance_gap(s, t, chunk_size), reduction)


def _centred(h: Tensor) -> Tensor:
    """Shifted rows, of the same distances: far from the origin, dividing would round those off."""
    return h - centre_of(h.detach()[:: sample_step(h.size(0))]).to(h.dtype)


def _over(h: Tensor, distance_rows: Tensor) -> Tensor:
    """Rows divided by their mean distance; all of them equal, they stay so."""
    mean = reduce_rows(distance_rows, "mean")
    return h / mean.masked_fill(mean == 0, 1)


def check_max_samples(loss: str, max_samples: int | None) -> None:
    """Raise unless ``max_samples`` is None, or enough for a triple."""
    if max_samples is not None:
        check_count(f"{loss}: max_samples", max_samples, least=3)


def angle_term(
    loss: str,
    s: Tensor,
    t: Tensor,
    max_samples: int | None,
    generator: torch.Generator | None,
    reduction: str,
    backend: str,
    chunk_size: int | None,
) -> Tensor:
    """The mean smooth L1 of the gaps between cosines, of all triples or those of sampled rows."""
    n = s.size(0)
    sample = sample_rows(n, max_samples, generator, s.device)
    if sample is not None:
        if reduction == "none":
            raise ValueError(
                f"{loss}: reduction='none' gives one value per row, which the angles of "
                f"max_samples={max_samples} rows of {n} do not have. Use 'mean' or 'sum', select "
                "rows with index, or pass max_samples=None, which takes N³ time."
            )
        s, t = s.index_select(0, sample), t.index_select(0, sample)
    if backend == "reference":
        rows = reference_pairs.angle_gap(s, t)
    else:
        rows = angles.angle_gap(s, t, chunk_size)
    if sample is None:
        return reduce_rows(rows, reduction)
    mean = unbiased(reduce_rows(rows, "mean"), coincidences(s.detach(), t), s.size(0), n)
    return mean if reduction == "mean" else n * mean


def unbiased(mean: Tensor, pairs: Tensor, sampled: int, total: int) -> Tensor:
    """An unbiased estimate of the mean over N³ triples, from that over n³ of a sample.

    Triples of three rows are drawn with the probability n(n − 1)(n − 2)/(N(N − 1)(N − 2)), those
    of a row and twice another one with n(n − 1)/(N(N − 1)), and the rest is zero.

    Args:
        mean: The mean over the sample's triples.
        pairs: The part of its sum that is of triples (i, j, j).
        sampled: n.
        total: N.
    """
    twice = total * (total - 1) / (sampled * (sampled - 1))
    thrice = twice * (total - 2) / (sampled - 2)
    return mean * (thrice * (sampled / total) ** 3) + pairs * ((twice - thrice) / total**3)


def coincidences(s: Tensor, t: Tensor) -> Tensor:
    """The sum over pairs of what the triple (i, j, j) adds.

    Its cosine is 1, and 0 where the rows i and j are the same: a gap of 1 where they are so for
    one of student and teacher alone.
    """
    total = s.new_zeros(())
    for rows in slices(s.size(0), 512):
        same_s, same_t = (torch.cdist(x[rows], x, p=torch.inf) == 0 for x in (s, t))
        total = total + (same_s != same_t).sum() / 2
    return total
