"""Centred kernel alignment (CKA) of linear kernels."""

from torch import Tensor

from graphkd.functional.pairs.cka import check_cka_options, cka_loss
from graphkd.losses._base import DistillationLoss


class CKALoss(DistillationLoss):
    r"""One minus the linear centred kernel alignment (CKA), exactly, in :math:`O(N d^2)`.

    .. math:: L = 1 - \lVert S^\top T\rVert^2 / (\lVert S^\top S\rVert\,\lVert T^\top T\rVert)

    S and T are the rows of student and teacher with centred columns; the norms are Frobenius norms.
    The loss has no parameters, and the widths may differ. :func:`graphkd.functional.cka_loss` gives
    a form by rows, the debiased form, the errors and the source.

    Args:
        debiased: Correct the alignment for the number of rows: unrelated embeddings then have 0 on
            average. Use it where there are not many more rows than columns.
        reduction: ``"none"`` keeps a value for each row; their mean is the loss.

    Shapes:
        - **h_s, h_t:** :math:`[N, d_s]` and :math:`[N, d_t]`
        - **weight:** a weight for each row, :math:`[N]`
        - **index:** :math:`[M]`, or a mask :math:`[N]`
        - **output:** a scalar, or a value for each selected row

    Example:
        >>> import torch
        >>> from graphkd import CKALoss
        >>> CKALoss()(torch.eye(3)[:, :1], torch.eye(3))
        tensor(0.2929)
    """

    debiased: bool
    reduction: str
    _check_options = staticmethod(check_cka_options)

    def __init__(self, *, debiased: bool = False, reduction: str = "mean") -> None:
        super().__init__(debiased=debiased, reduction=reduction)

    def forward(
        self, h_s: Tensor, h_t: Tensor, *, weight: Tensor | None = None, index: Tensor | None = None
    ) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        return cka_loss(h_s, h_t, weight=weight, index=index, **self.options)
