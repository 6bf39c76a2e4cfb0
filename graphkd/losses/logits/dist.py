"""Correlations of predictions, within rows and within classes: DIST."""

from torch import Tensor

from graphkd.functional.logits.dist import check_dist_options, dist_loss
from graphkd.losses._base import DistillationLoss


class DISTLoss(DistillationLoss):
    r"""DIST: one minus the correlation of predictions, within each row and within each class.

    .. math::
        L = T^2 \left[\frac{\beta}{N} \sum_i \left(1 - \rho(p_{i:}, q_{i:})\right)
            + \frac{\gamma}{C} \sum_c \left(1 - \rho(p_{:c}, q_{:c})\right)\right]

    with the student's softmax p and the teacher's q at temperature T, and the Pearson correlation
    :math:`\rho`. It has no parameters. See :func:`graphkd.functional.dist_loss`.

    Args:
        beta: Weight of the rows ("inter-class" in the paper).
        gamma: Weight of the columns ("intra-class").
        temperature: T, without a unit.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value per row, whose mean is the loss).

    Shapes:
        - **z_s:** :math:`[N, C]`
        - **z_t:** :math:`[N, C]`
        - **index:** :math:`[M]`, or a mask :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If an option is out of range, shapes or devices do not fit, or there is a
            single class.
        TypeError: If logits are not floating-point tensors.
        IndexError: If ``index`` names a row that does not exist.

    Source: Huang et al., NeurIPS 2022, arXiv 2205.10536.

    Example:
        >>> import torch
        >>> from graphkd import DISTLoss
        >>> z_s = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
        >>> z_t = torch.tensor([[4.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
        >>> DISTLoss()(z_s, z_t)
        tensor(1.4197)
    """

    beta: float
    gamma: float
    temperature: float
    reduction: str
    check_options = staticmethod(check_dist_options)

    def __init__(
        self,
        beta: float = 1.0,
        gamma: float = 1.0,
        temperature: float = 1.0,
        *,
        reduction: str = "mean",
    ) -> None:
        super().__init__(beta=beta, gamma=gamma, temperature=temperature, reduction=reduction)

    def forward(self, z_s: Tensor, z_t: Tensor, *, index: Tensor | None = None) -> Tensor:
        """The loss of student logits against the teacher's."""
        return dist_loss(z_s, z_t, index=index, **self.options)
