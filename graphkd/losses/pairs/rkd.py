"""Relational knowledge distillation: distances of pairs and angles of triples (RKD)."""

import torch
from torch import Tensor

from graphkd.functional.pairs.rkd import check_rkd_options, rkd_loss
from graphkd.losses._base import DistillationLoss


class RKDLoss(DistillationLoss):
    r"""Relational knowledge distillation (RKD): a weighted sum of its distance and angle losses.

    .. math::
        L = \frac{w_D}{N^2} \sum_{i,j} \ell\left(
            \frac{\lVert h^s_i - h^s_j\rVert}{\mu_s} - \frac{\lVert h^t_i - h^t_j\rVert}{\mu_t}
        \right) + \frac{w_A}{N^3} \sum_{i,j,k} \ell\left(
            \cos\angle(h^s_j, h^s_i, h^s_k) - \cos\angle(h^t_j, h^t_i, h^t_k)\right)

    with the mean distance :math:`\mu` of a side and the smooth L1 :math:`\ell`. It has no
    parameters and needs no head: the widths may differ. Memory is linear in N; angles of more than
    ``max_samples`` rows are an unbiased estimate. See
    :func:`graphkd.functional.rkd_distance_loss`, :func:`graphkd.functional.rkd_angle_loss` and
    :func:`graphkd.functional.rkd_loss`.

    Args:
        distance_weight: :math:`w_D`; 0 switches the term off.
        angle_weight: :math:`w_A`; 0 switches the term off.
        max_samples: Angles of more rows are those of so many, drawn anew in each call; None takes
            all rows.
        reduction: ``"mean"``, ``"sum"`` or, where no rows are drawn, ``"none"``.
        backend: ``"auto"``, ``"reference"`` or ``"chunked"``.
        chunk_size: Side of the chunked backend's tiles of distances, and how many vertices of
            angles it takes at a time, at most.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **index:** :math:`[M]`, or a mask :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If an option is out of range, row counts, shapes or devices do not fit, or
            ``reduction="none"`` and rows are drawn.
        TypeError: If embeddings are not floating-point tensors, or a weight is not a number.
        IndexError: If ``index`` names a row that does not exist.

    Source: Park, Kim, Lu and Cho, CVPR 2019, arXiv 1904.05068. The weights are those of Tian et
    al., ICLR 2020.

    Example:
        >>> import torch
        >>> from graphkd import RKDLoss
        >>> h_s, h_t = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0], [1.0], [3.0]])
        >>> RKDLoss()(h_s, h_t)     # on a line, in the same order: the angles are the same
        tensor(0.3472)
    """

    distance_weight: float
    angle_weight: float
    max_samples: int | None
    reduction: str
    backend: str
    chunk_size: int | None
    check_options = staticmethod(check_rkd_options)

    def __init__(
        self,
        distance_weight: float = 25.0,
        angle_weight: float = 50.0,
        *,
        max_samples: int | None = 512,
        reduction: str = "mean",
        backend: str = "auto",
        chunk_size: int | None = None,
    ) -> None:
        super().__init__(
            distance_weight=distance_weight,
            angle_weight=angle_weight,
            max_samples=max_samples,
            reduction=reduction,
            backend=backend,
            chunk_size=chunk_size,
        )

    def forward(
        self,
        h_s: Tensor,
        h_t: Tensor,
        *,
        index: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        return rkd_loss(h_s, h_t, index=index, generator=generator, **self.options)
