"""Relational knowledge distillation: distances of pairs and angles of triples (RKD)."""

import torch
from torch import Tensor

from graphkd._checks import check_count
from graphkd._precision import full_precision, has_rows
from graphkd.functional._options import check_blocked_options, check_weights
from graphkd.functional._rows import (
    matched_rows,
    reduce_rows,
    row_weights,
    sample_rows,
    sample_weights,
    weigh,
)
from graphkd.ops._blocks import slices
from graphkd.ops.backends import mean_of
from graphkd.ops.chunked.statistics import centre_of
from graphkd.ops.primitives import angle_gap, distance_gap, mean_distance

# The centre of the rows is the median of so many.
_ASKED = 64


def rkd_distance_loss(
    h_s: Tensor,
    h_t: Tensor,
    *,
    weight: Tensor | None = None,
    index: Tensor | None = None,
    reduction: str = "mean",
    backend: str = "auto",
    chunk_size: int | None = None,
) -> Tensor:
    r"""Mean smooth L1 difference of all pairwise distances, divided by their mean on each side.

    Replaces ``F.smooth_l1_loss(d_s / d_s[d_s > 0].mean(), d_t / d_t[d_t > 0].mean())`` with
    ``d = cdist(h, h)``, without the :math:`N \times N` matrices.

    .. math::
        L = \frac1{N^2} \sum_{i,j} \ell\left(
            \frac{\lVert h^s_i - h^s_j\rVert}{\mu_s} - \frac{\lVert h^t_i - h^t_j\rVert}{\mu_t}
        \right), \quad
        \mu = \frac{1}{N(N-1)} \sum_{i \ne j} \lVert h_i - h_j\rVert, \quad
        \ell(x) = \begin{cases} x^2/2 & |x| < 1 \\ |x| - \frac12 & \text{else} \end{cases}

    All ordered pairs count, the diagonal included. The gradient flows through the student's mean.
    The widths may differ. Time is :math:`O(N^2 d)`, memory linear in N.

    Args:
        h_s: Student embeddings.
        h_t: Teacher embeddings; they get no gradient.
        weight: A weight for each row i, not negative, before ``index``; it does not weigh the
            partners of i. The mean divides by the weights' sum. It gets a gradient if it requires
            one.
        index: Boolean mask or row numbers of the rows that take part.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each row's mean over all j).
        backend: ``"auto"``, ``"reference"`` (dense) or ``"chunked"`` (linear memory).
        chunk_size: Side of the chunked backend's square tiles; changes memory, not the value.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **weight:** :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If row counts or devices differ, an input is not two-dimensional, ``weight`` is
            negative, or an option is out of range.
        TypeError: If an input is not a floating-point tensor.
        IndexError: If ``index`` names a row that does not exist.

    Source: Park, Kim, Lu and Cho, CVPR 2019, arXiv 1904.05068, with the same value. The authors'
    code keeps the distance of rows i ≠ j at 1e-6 or more, so that identical rows count in its mean
    of positive distances, as here.

    Example:
        >>> import torch
        >>> from graphkd.functional import rkd_distance_loss
        >>> h_s, h_t = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0], [1.0], [3.0]])
        >>> rkd_distance_loss(h_s, h_t)     # 3/4, 3/4 and 6/4 against 1/2, 2/2 and 3/2
        tensor(0.0139)
    """
    loss = "rkd_distance_loss"
    check_blocked_options(loss, reduction=reduction, backend=backend, chunk_size=chunk_size)
    s, t, chosen = matched_rows(loss, h_s, h_t, index)
    weight = row_weights(loss, weight, h_s, chosen)
    with full_precision(s.device):
        return _distance_term(loss, s, t, weight, reduction, backend, chunk_size)


def rkd_angle_loss(
    h_s: Tensor,
    h_t: Tensor,
    *,
    max_samples: int | None = 512,
    weight: Tensor | None = None,
    index: Tensor | None = None,
    generator: torch.Generator | None = None,
    reduction: str = "mean",
    backend: str = "auto",
    chunk_size: int | None = None,
) -> Tensor:
    r"""Mean smooth L1 difference of the cosines of all angles between three rows.

    .. math::
        L = \frac1{N^3} \sum_{i,j,k} \ell\left(\langle e^s_{ij}, e^s_{ik}\rangle
                                             - \langle e^t_{ij}, e^t_{ik}\rangle\right), \qquad
        e_{ij} = \frac{h_j - h_i}{\lVert h_j - h_i\rVert}, \quad e_{ij} = 0 \text{ where } h_i = h_j

    with :math:`\ell` as in :func:`rkd_distance_loss`. All :math:`N^3` ordered triples count, also
    triples that hold a row twice. They take :math:`O(N^3 d)` time. If there are more than
    ``max_samples`` rows, so many are drawn, and all their triples give an unbiased estimate. Its
    standard error falls with the root of ``max_samples``; see :doc:`/losses/pairs/index`.

    Args:
        h_s: Student embeddings, of any width.
        h_t: Teacher embeddings; they get no gradient.
        max_samples: Draw at most this many rows in each call, without replacement; None takes all
            rows.
        weight: A weight for each vertex i, not negative, before ``index``; it does not weigh j and
            k. The mean divides by the weights' sum. It gets a gradient if it requires one.
        index: Boolean mask or row numbers of the rows that take part.
        generator: Source of randomness; default: torch's global one.
        reduction: ``"mean"``, ``"sum"`` or, if no rows are drawn, ``"none"`` (each vertex i's mean
            over all j and k).
        backend: ``"auto"``, ``"reference"`` (N³ numbers) or ``"chunked"`` (linear memory).
        chunk_size: The most vertices that the chunked backend takes at a time.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **weight:** :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If row counts or devices differ, an input is not two-dimensional, ``weight`` is
            negative, an option is out of range, or ``reduction="none"`` and rows are drawn.
        TypeError: If an input is not a floating-point tensor.
        IndexError: If ``index`` names a row that does not exist.

    Source: Park, Kim, Lu and Cho, CVPR 2019, arXiv 1904.05068, with the same value. The authors'
    code has no form for many rows.

    Example:
        >>> import torch
        >>> from graphkd.functional import rkd_angle_loss
        >>> h_t = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> h_s = torch.tensor([[0.0], [1.0], [2.0]])     # angles 0, 180, 0; not 90, 45, 45
        >>> rkd_angle_loss(h_s, h_t)
        tensor(0.1296)
    """
    loss = "rkd_angle_loss"
    check_blocked_options(loss, reduction=reduction, backend=backend, chunk_size=chunk_size)
    _check_max_samples(loss, max_samples)
    s, t, chosen = matched_rows(loss, h_s, h_t, index)
    weight = row_weights(loss, weight, h_s, chosen)
    with full_precision(s.device):
        drawn = max_samples, generator
        return _angle_term(loss, s, t, weight, *drawn, reduction, backend, chunk_size)


def rkd_loss(
    h_s: Tensor,
    h_t: Tensor,
    *,
    distance_weight: float = 25.0,
    angle_weight: float = 50.0,
    max_samples: int | None = 512,
    weight: Tensor | None = None,
    index: Tensor | None = None,
    generator: torch.Generator | None = None,
    reduction: str = "mean",
    backend: str = "auto",
    chunk_size: int | None = None,
) -> Tensor:
    r"""Relational knowledge distillation: a weighted sum of its distance and its angle loss.

    .. math:: L = w_D\, L_{distance} + w_A\, L_{angle}

    See :func:`rkd_distance_loss` and :func:`rkd_angle_loss`. The distances are of all pairs, the
    angles of at most ``max_samples`` rows.

    Args:
        h_s: Student embeddings, of any width.
        h_t: Teacher embeddings; they get no gradient.
        distance_weight: :math:`w_D`; 0 switches the term off.
        angle_weight: :math:`w_A`; 0 switches the term off.
        max_samples: Take the angles of at most this many rows, drawn in each call; None takes all
            rows.
        weight: A weight for each row i, not negative, before ``index``; as the first of a pair, and
            as the vertex of an angle. The mean divides by the weights' sum. It gets a gradient if
            it requires one.
        index: Boolean mask or row numbers of the rows that take part.
        generator: Source of randomness; default: torch's global one.
        reduction: ``"mean"``, ``"sum"`` or, if no rows are drawn, ``"none"``.
        backend: ``"auto"``, ``"reference"`` (dense) or ``"chunked"`` (linear memory).
        chunk_size: Side of the chunked backend's tiles of distances, and the most vertices of
            angles that it takes at a time.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **weight:** :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If row counts or devices differ, an input is not two-dimensional, ``weight`` is
            negative, an option is out of range, or ``reduction="none"`` and rows are drawn.
        TypeError: If an input is not a floating-point tensor.
        IndexError: If ``index`` names a row that does not exist.

    Source: Park, Kim, Lu and Cho, CVPR 2019, arXiv 1904.05068. The default weights come from
    Tian et al., ICLR 2020; the authors take 1 and 2 for metric learning.

    Example:
        >>> import torch
        >>> from graphkd.functional import rkd_loss
        >>> h_s, h_t = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0], [1.0], [3.0]])
        >>> rkd_loss(h_s, h_t)     # on a line, in the same order: the angles are the same
        tensor(0.3472)
    """
    loss = "rkd_loss"
    check_rkd_options(
        loss,
        distance_weight=distance_weight,
        angle_weight=angle_weight,
        max_samples=max_samples,
        reduction=reduction,
        backend=backend,
        chunk_size=chunk_size,
    )
    s, t, chosen = matched_rows(loss, h_s, h_t, index)
    weight = row_weights(loss, weight, h_s, chosen)
    blocks = reduction, backend, chunk_size
    with full_precision(s.device):
        terms = []
        if distance_weight:
            terms.append(distance_weight * _distance_term(loss, s, t, weight, *blocks))
        if angle_weight:
            angles = _angle_term(loss, s, t, weight, max_samples, generator, *blocks)
            terms.append(angle_weight * angles)
        return terms[0] + terms[1] if len(terms) == 2 else terms[0]


def check_rkd_options(
    loss: str,
    *,
    distance_weight: float,
    angle_weight: float,
    max_samples: int | None,
    reduction: str,
    backend: str,
    chunk_size: int | None,
) -> None:
    """Raise on an option that is out of range."""
    check_weights(loss, distance_weight=distance_weight, angle_weight=angle_weight)
    check_blocked_options(loss, reduction=reduction, backend=backend, chunk_size=chunk_size)
    _check_max_samples(loss, max_samples)


def _check_max_samples(loss: str, max_samples: int | None) -> None:
    """Raise unless ``max_samples`` is None, or enough for a triple."""
    if max_samples is not None:
        check_count(f"{loss}: max_samples", max_samples, least=3)


def _distance_term(
    loss: str,
    s: Tensor,
    t: Tensor,
    weight: Tensor | None,
    reduction: str,
    backend: str,
    chunk_size: int | None,
) -> Tensor:
    """The mean smooth L1 of the gaps between distances, each divided by the mean of its side."""

    def relative(h: Tensor) -> Tensor:
        h = _centred(h)
        return _over(h, mean_distance(loss, h, backend, chunk_size))

    rows = distance_gap(loss, relative(s), relative(t), backend, chunk_size)
    return reduce_rows(rows, reduction, weight)


def _centred(h: Tensor) -> Tensor:
    """Rows shifted to the origin: far from it, division would round their distances off."""
    if not has_rows(h):
        return h
    # As many for any number of rows, so that torch.compile does not compile anew for each.
    some = torch.arange(_ASKED, device=h.device) * h.size(0) // _ASKED
    return h - centre_of(h.detach().index_select(0, some)).to(h.dtype)


def _over(h: Tensor, distance_rows: Tensor) -> Tensor:
    """Rows divided by their mean distance; rows that are all equal stay as they are."""
    mean = reduce_rows(distance_rows, "mean")
    return h / mean.masked_fill(mean == 0, 1)


def _angle_term(
    loss: str,
    s: Tensor,
    t: Tensor,
    weight: Tensor | None,
    max_samples: int | None,
    generator: torch.Generator | None,
    reduction: str,
    backend: str,
    chunk_size: int | None,
) -> Tensor:
    """The mean smooth L1 of the gaps between cosines, over all triples or those of a sample."""
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
    rows = angle_gap(loss, s, t, backend, chunk_size)
    if sample is None:
        return reduce_rows(rows, reduction, weight)
    weight = sample_weights(weight, reduction, sample)
    pairs = coincidences(s.detach(), t, weight)
    mean = unbiased(mean_of(weigh(rows, weight)), pairs, s.size(0), n)
    return mean if reduction == "mean" else n * mean


def unbiased(mean: Tensor, pairs: Tensor, sampled: int, total: int) -> Tensor:
    """An unbiased estimate of the mean over N³ triples, from the mean over a sample's n³.

    Triples of three rows are drawn with the probability n(n − 1)(n − 2)/(N(N − 1)(N − 2)), triples
    (i, j, j) with n(n − 1)/(N(N − 1)). All other triples are zero.

    Args:
        mean: The mean over the sample's triples.
        pairs: The part of the sample's sum that comes from triples (i, j, j).
        sampled: n.
        total: N.
    """
    twice = total * (total - 1) / (sampled * (sampled - 1))
    thrice = twice * (total - 2) / (sampled - 2)
    return mean * (thrice * (sampled / total) ** 3) + pairs * ((twice - thrice) / total**3)


def coincidences(s: Tensor, t: Tensor, weight: Tensor | None = None) -> Tensor:
    """The part of the sum, weighted by i, that comes from triples (i, j, j).

    The cosine of such a triple is 1, or 0 if the rows i and j are equal. The gap is 1 if they are
    equal on one side only.
    """
    total = s.new_zeros(())
    for rows in slices(s.size(0), 512):
        same_s, same_t = (torch.cdist(x[rows], x, p=torch.inf) == 0 for x in (s, t))
        here = (same_s != same_t).sum(dim=1).to(s.dtype)
        total = total + weigh(here, None if weight is None else weight[rows]).sum() / 2
    return total
