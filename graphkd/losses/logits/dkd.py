"""Soft targets split into the labelled class and the others: DKD."""

from torch import Tensor

from graphkd.functional.logits.dkd import check_dkd_options, dkd_loss
from graphkd.losses._base import DistillationLoss


class DKDLoss(DistillationLoss):
    r"""Decoupled knowledge distillation (DKD): soft targets, split at the labelled class.

    .. math:: L = T^2\, \mathrm{mean}_i [\alpha D(b^t_i \Vert b^s_i) + \beta D(o^t_i \Vert o^s_i)]

    with the divergence D of Kullback and Leibler, after a softmax at temperature T: :math:`b_i` is
    the labelled class of row i against all others, :math:`o_i` these others among themselves. It
    has no parameters.
    :func:`graphkd.functional.dkd_loss` explains the terms, and names errors and source.

    Args:
        alpha: Weight of the first divergence, TCKD in the paper.
        beta: Weight of the second one, NCKD.
        temperature, reduction: As in the function.

    Shapes:
        - **z_s, z_t:** a row of logits for each node, :math:`[N, C]`
        - **y:** the class of each row, :math:`[N]`
        - **weight:** a weight for each row, :math:`[N]`
        - **index:** row numbers, or a mask :math:`[N]`; selects from ``y`` too
        - **output:** a scalar, or a value for each selected row

    Example:
        >>> import torch
        >>> from graphkd import DKDLoss
        >>> z_s, z_t = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[4.0, 2.0, 0.0]])
        >>> DKDLoss(temperature=1.0)(z_s, z_t, torch.tensor([0]))
        tensor(2.8224)
    """

    alpha: float
    beta: float
    temperature: float
    reduction: str
    _check_options = staticmethod(check_dkd_options)

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 8.0,
        temperature: float = 4.0,
        *,
        reduction: str = "mean",
    ) -> None:
        super().__init__(alpha=alpha, beta=beta, temperature=temperature, reduction=reduction)

    def forward(
        self,
        z_s: Tensor,
        z_t: Tensor,
        y: Tensor,
        *,
        weight: Tensor | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """The loss of student logits against the teacher's, given the classes."""
        return dkd_loss(z_s, z_t, y, weight=weight, index=index, **self.options)
