"""Relational knowledge distillation: distances of pairs and angles of triples (RKD)."""

import torch
from torch import Tensor

from graphkd._checks import check_pair
from graphkd._precision import full_precision, student_and_teacher, traced
from graphkd.functional._blocked import check_blocked_options
from graphkd.functional._rows import reduce_rows, resolve_index, select_rows
from graphkd.functional._terms import check_weights
from graphkd.functional.pairs._relations import angle_term, check_max_samples, distance_term
from graphkd.ops import pick_backend


def rkd_distance_loss(
    h_s: Tensor,
    h_t: Tensor,
    *,
    index: Tensor | None = None,
    reduction: str = "mean",
    backend: str = "auto",
    chunk_size: int | None = None,
) -> Tensor:
    r"""Mean smooth L1 difference of all pairwise distances, each side's over their mean.

    Replaces ``F.smooth_l1_loss(d_s / d_s[d_s > 0].mean(), d_t / d_t[d_t > 0].mean())`` of
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
        index: Boolean mask or row numbers of the rows that take part.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each row's mean over all j).
        backend: ``"auto"``, ``"reference"`` (dense) or ``"chunked"`` (linear memory).
        chunk_size: Side of the chunked backend's square tiles; changes memory, not the value.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If row counts or devices differ, an input is not two-dimensional, or an option
            is out of range.
        TypeError: If an input is not a floating-point tensor.
        IndexError: If ``index`` names a row that does not exist.

    Source: Park, Kim, Lu and Cho, CVPR 2019, arXiv 1904.05068, whose value this is. The authors'
    code takes two different rows to be at least 1e-6 apart, so that identical ones count in its
    mean of positive distances, as here.

    Example:
        >>> import torch
        >>> from graphkd.functional import rkd_distance_loss
        >>> h_s, h_t = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0], [1.0], [3.0]])
        >>> rkd_distance_loss(h_s, h_t)     # 3/4, 3/4 and 6/4 against 1/2, 2/2 and 3/2
        tensor(0.0139)
    """
    loss = "rkd_distance_loss"
    check_blocked_options(loss, reduction=reduction, backend=backend, chunk_size=chunk_size)
    s, t, backend = _sides(loss, h_s, h_t, index, backend, chunk_size)
    with full_precision(s.device):
        if not traced() and s.size(0) == 0:
            return reduce_rows(s.sum(dim=1), reduction)
        return distance_term(s, t, reduction, backend, chunk_size)


def rkd_angle_loss(
    h_s: Tensor,
    h_t: Tensor,
    *,
    max_samples: int | None = 512,
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
    those in which a row is there twice. Their time is :math:`O(N^3 d)`: of more than
    ``max_samples`` rows so many are drawn, and all triples of these give an unbiased estimate. Its
    standard error falls with the root of ``max_samples``; see :doc:`/losses/pairs`.

    Args:
        h_s: Student embeddings, of any width.
        h_t: Teacher embeddings; they get no gradient.
        max_samples: Draw at most this many rows anew in each call, without replacement; None
            takes all rows.
        index: Boolean mask or row numbers of the rows that take part.
        generator: Source of randomness; default: torch's global one.
        reduction: ``"mean"``, ``"sum"`` or, where no rows are drawn, ``"none"`` (each vertex i's
            mean over all j and k).
        backend: ``"auto"``, ``"reference"`` (N³ numbers) or ``"chunked"`` (linear memory).
        chunk_size: Vertices at a time, at most, of the chunked backend.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If row counts or devices differ, an input is not two-dimensional, an option is
            out of range, or ``reduction="none"`` and rows are drawn.
        TypeError: If an input is not a floating-point tensor.
        IndexError: If ``index`` names a row that does not exist.

    Source: Park, Kim, Lu and Cho, CVPR 2019, arXiv 1904.05068, whose value this is. The authors'
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
    check_max_samples(loss, max_samples)
    s, t, backend = _sides(loss, h_s, h_t, index, backend, chunk_size)
    with full_precision(s.device):
        if not traced() and s.size(0) == 0:
            return reduce_rows(s.sum(dim=1), reduction)
        return angle_term(loss, s, t, max_samples, generator, reduction, backend, chunk_size)


def rkd_loss(
    h_s: Tensor,
    h_t: Tensor,
    *,
    distance_weight: float = 25.0,
    angle_weight: float = 50.0,
    max_samples: int | None = 512,
    index: Tensor | None = None,
    generator: torch.Generator | None = None,
    reduction: str = "mean",
    backend: str = "auto",
    chunk_size: int | None = None,
) -> Tensor:
    r"""Relational knowledge distillation: a weighted sum of its distance and its angle loss.

    .. math:: L = w_D\, L_{distance} + w_A\, L_{angle}

    See :func:`rkd_distance_loss` and :func:`rkd_angle_loss`. Distances are those of all pairs,
    angles those of at most ``max_samples`` rows.

    Args:
        h_s: Student embeddings, of any width.
        h_t: Teacher embeddings; they get no gradient.
        distance_weight: :math:`w_D`; 0 switches the term off.
        angle_weight: :math:`w_A`; 0 switches the term off.
        max_samples: Angles of more rows are those of so many, drawn anew in each call; None takes
            all rows.
        index: Boolean mask or row numbers of the rows that take part.
        generator: Source of randomness; default: torch's global one.
        reduction: ``"mean"``, ``"sum"`` or, where no rows are drawn, ``"none"``.
        backend: ``"auto"``, ``"reference"`` (dense) or ``"chunked"`` (linear memory).
        chunk_size: Side of the chunked backend's tiles of distances, and how many vertices of
            angles it takes at a time, at most.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If row counts or devices differ, an input is not two-dimensional, an option is
            out of range, or ``reduction="none"`` and rows are drawn.
        TypeError: If an input is not a floating-point tensor.
        IndexError: If ``index`` names a row that does not exist.

    Source: Park, Kim, Lu and Cho, CVPR 2019, arXiv 1904.05068. The weights are those of Tian et
    al., ICLR 2020; the authors' are 1 and 2 for metric learning.

    Example:
        >>> import torch
        >>> from graphkd.functional import rkd_loss
        >>> h_s, h_t = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0], [1.0], [3.0]])
        >>> rkd_loss(h_s, h_t)     # on a line, in the same order: the angles are the same
        tensor(0.3472)
    """
    loss = "rkd_loss"
    check_weights(loss, distance_weight=distance_weight, angle_weight=angle_weight)
    check_blocked_options(loss, reduction=reduction, backend=backend, chunk_size=chunk_size)
    check_max_samples(loss, max_samples)
    s, t, backend = _sides(loss, h_s, h_t, index, backend, chunk_size)
    with full_precision(s.device):
        if not traced() and s.size(0) == 0:
            return reduce_rows(s.sum(dim=1), reduction)
        terms = []
        if distance_weight:
            terms.append(distance_weight * distance_term(s, t, reduction, backend, chunk_size))
        if angle_weight:
            angles = angle_term(loss, s, t, max_samples, generator, reduction, backend, chunk_size)
            terms.append(angle_weight * angles)
        return terms[0] + terms[1] if len(terms) == 2 else terms[0]


def _sides(
    loss: str, h_s: Tensor, h_t: Tensor, index: Tensor | None, backend: str, chunk_size: int | None
) -> tuple[Tensor, Tensor, str]:
    """The checked, selected rows of both sides, and the backend that serves them."""
    check_pair(loss, h_s, h_t)
    s, t = student_and_teacher(h_s, h_t)
    chosen = resolve_index(loss, index, s)
    s, t = select_rows(loss, s, chosen), select_rows(loss, t, chosen)
    return s, t, pick_backend(loss, backend, s, chunk_size=chunk_size, programs=False)
