"""Relational knowledge distillation: distances of pairs and angles of triples (RKD)."""

import torch
from torch import Tensor

from graphkd.functional.pairs.rkd import check_rkd_options, rkd_loss
from graphkd.losses._base import DistillationLoss


class RKDLoss(DistillationLoss):
    r"""Relational knowledge distillation (RKD): distances of pairs and angles of triples.

    .. math:: L = w_D\,\overline{\ell(\Delta d_{ij})} + w_A\,\overline{\ell(\Delta a_{ijk})}

    A bar is the mean over all pairs or triples, :math:`\ell` is the smooth L1, and :math:`\Delta`
    is student minus teacher: of the distances d, divided by their mean on each side, and of the
    cosines a of the angles at row i. The loss has no parameters and needs no head: the widths may
    differ. Memory is linear in N.
    :func:`graphkd.functional.rkd_distance_loss` and :func:`graphkd.functional.rkd_angle_loss`
    explain the terms; :func:`graphkd.functional.rkd_loss` gives the errors and the source.

    Args:
        distance_weight: :math:`w_D`; without distances at 0.
        angle_weight: :math:`w_A`; without angles at 0.
        max_samples: Estimate the angles' term, without a bias, from this many rows drawn in each
            call. None takes all triples, in :math:`O(N^3)`.
        reduction: ``"none"`` keeps a value for each row; it needs all triples.
        backend, chunk_size: As in the function.

    Shapes:
        - **h_s, h_t:** :math:`[N, d_s]` and :math:`[N, d_t]`
        - **weight:** a weight for each row, :math:`[N]`
        - **index:** :math:`[M]`, or a mask :math:`[N]`
        - **output:** a scalar, or a value for each selected row

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
    _check_options = staticmethod(check_rkd_options)

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
        weight: Tensor | None = None,
        index: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        return rkd_loss(h_s, h_t, weight=weight, index=index, generator=generator, **self.options)
