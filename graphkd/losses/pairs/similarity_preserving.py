"""Similarity-preserving distillation: the rows of the Gram matrices, normalised."""

from torch import Tensor

from graphkd.functional._options import check_reduction
from graphkd.functional.pairs.similarity_preserving import similarity_preserving_loss
from graphkd.losses._base import DistillationLoss


class SimilarityPreservingLoss(DistillationLoss):
    r"""Similarity-preserving distillation (SP), exactly, in :math:`O(N d^2)`.

    .. math::
        G = H H^\top, \qquad
        L = \frac1{N^2} \sum_i \left\lVert \frac{G^s_i}{\lVert G^s_i\rVert}
                                         - \frac{G^t_i}{\lVert G^t_i\rVert} \right\rVert^2

    It has no parameters, and the widths may differ. The value falls as 1/N. See
    :func:`graphkd.functional.similarity_preserving_loss`.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each row's mean over all j).

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **index:** :math:`[M]`, or a mask :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If row counts or devices differ, an input is not two-dimensional, or
            ``reduction`` is unknown.
        TypeError: If an input is not a floating-point tensor.
        IndexError: If ``index`` names a row that does not exist.

    Source: Tung and Mori, ICCV 2019, arXiv 1907.09682.

    Example:
        >>> import torch
        >>> from graphkd import SimilarityPreservingLoss
        >>> h_t = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> SimilarityPreservingLoss()(torch.ones(2, 3), h_t)
        tensor(0.2929)
    """

    reduction: str
    check_options = staticmethod(check_reduction)

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)

    def forward(self, h_s: Tensor, h_t: Tensor, *, index: Tensor | None = None) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        return similarity_preserving_loss(h_s, h_t, index=index, **self.options)
