"""Centred kernel alignment (CKA) of linear kernels."""

from torch import Tensor

from graphkd.functional.pairs.cka import check_cka_options, cka_loss
from graphkd.losses._base import DistillationLoss


class CKALoss(DistillationLoss):
    r"""One minus the linear centred kernel alignment (CKA), exactly, in :math:`O(N d^2)`.

    .. math::
        L = 1 - \frac{\lVert S^\top T\rVert_F^2}{\lVert S^\top S\rVert_F \lVert T^\top T\rVert_F}

    with the centred columns S of the student and T of the teacher. It has no parameters, and the
    widths may differ. See :func:`graphkd.functional.cka_loss`.

    Args:
        debiased: Whether the alignment is to be 0 on average for unrelated embeddings, which with
            few rows it is not.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each row's part; N times what it adds).

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **index:** :math:`[M]`, or a mask :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If row counts or devices differ, an input is not two-dimensional, or an option
            is out of range.
        TypeError: If an input is not a floating-point tensor.
        IndexError: If ``index`` names a row that does not exist.

    Source: the index of Kornblith, Norouzi, Lee and Hinton, ICML 2019, arXiv 1905.00414, as a loss;
    debiased as by Nguyen, Raghu and Kornblith, ICLR 2021, arXiv 2010.15327.

    Example:
        >>> import torch
        >>> from graphkd import CKALoss
        >>> h_t = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> CKALoss()(h_t[:, :1], h_t)
        tensor(0.2929)
    """

    debiased: bool
    reduction: str
    check_options = staticmethod(check_cka_options)

    def __init__(self, *, debiased: bool = False, reduction: str = "mean") -> None:
        super().__init__(debiased=debiased, reduction=reduction)

    def forward(self, h_s: Tensor, h_t: Tensor, *, index: Tensor | None = None) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        return cka_loss(h_s, h_t, index=index, **self.options)
