"""Correlations of predictions, within rows and within classes: DIST."""

from torch import Tensor

from graphkd.functional.logits.dist import check_dist_options, dist_loss
from graphkd.losses._base import DistillationLoss


class DISTLoss(DistillationLoss):
    r"""DIST: the student's predictions correlate with the teacher's, along rows and along classes.

    .. math:: L = T^2 [\beta (1 - \bar\rho_{\mathrm{row}}) + \gamma (1 - \bar\rho_{\mathrm{class}})]

    with the mean Pearson correlation :math:`\bar\rho` of the two sides' rows, or of their columns,
    the classes, after a softmax at temperature T. It has no parameters.
    :func:`graphkd.functional.dist_loss` explains the terms, and names errors and source.

    Args:
        beta: How much the rows count.
        gamma: How much the classes count.
        temperature, reduction: As in the function.

    Shapes:
        - **z_s, z_t:** a row of logits for each node, :math:`[N, C]`
        - **weight:** a weight for each row, :math:`[N]`
        - **index:** row numbers, or a mask :math:`[N]`
        - **output:** a scalar, or a value for each selected row

    Example:
        >>> import torch
        >>> from graphkd import DISTLoss
        >>> z = torch.eye(3)
        >>> DISTLoss(gamma=0.0)(z, 2 * z + z.roll(1, 0))    # the rows alone
        tensor(0.0344)
    """

    beta: float
    gamma: float
    temperature: float
    reduction: str
    _check_options = staticmethod(check_dist_options)

    def __init__(
        self,
        beta: float = 1.0,
        gamma: float = 1.0,
        temperature: float = 1.0,
        *,
        reduction: str = "mean",
    ) -> None:
        super().__init__(beta=beta, gamma=gamma, temperature=temperature, reduction=reduction)

    def forward(
        self,
        z_s: Tensor,
        z_t: Tensor,
        *,
        weight: Tensor | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """The loss of student logits against the teacher's."""
        return dist_loss(z_s, z_t, weight=weight, index=index, **self.options)
