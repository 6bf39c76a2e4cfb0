"""Similarity-preserving distillation: the rows of the Gram matrices, normalised."""

from torch import Tensor

from graphkd.functional._options import check_reduction
from graphkd.functional.pairs.similarity_preserving import similarity_preserving_loss
from graphkd.losses._base import DistillationLoss


class SimilarityPreservingLoss(DistillationLoss):
    r"""Similarity-preserving distillation (SP), exactly, in :math:`O(N d^2)`.

    .. math:: L = \lVert G^s - G^t\rVert_F^2 / N^2

    G is the Gram matrix of a side, with each of its rows scaled to length one. The loss has no
    parameters, and the widths may differ. The value falls as 1/N.
    :func:`graphkd.functional.similarity_preserving_loss` gives the errors and the source.

    Args:
        reduction: ``"none"`` keeps the mean over j for each row i.

    Shapes:
        - **h_s, h_t:** :math:`[N, d_s]` and :math:`[N, d_t]`
        - **weight:** a weight for each row, :math:`[N]`
        - **index:** :math:`[M]`, or a mask :math:`[N]`
        - **output:** a scalar, or a value for each selected row

    Example:
        >>> import torch
        >>> from graphkd import SimilarityPreservingLoss
        >>> loss = SimilarityPreservingLoss(reduction="sum")
        >>> loss(torch.ones(2, 3), torch.eye(2))
        tensor(0.5858)
    """

    reduction: str
    _check_options = staticmethod(check_reduction)

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)

    def forward(
        self, h_s: Tensor, h_t: Tensor, *, weight: Tensor | None = None, index: Tensor | None = None
    ) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        return similarity_preserving_loss(h_s, h_t, weight=weight, index=index, **self.options)
