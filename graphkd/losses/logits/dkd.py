"""Soft targets split into the labelled class and the others: DKD."""

from torch import Tensor

from graphkd.functional.logits.dkd import check_dkd_options, dkd_loss
from graphkd.losses._base import DistillationLoss


class DKDLoss(DistillationLoss):
    r"""Decoupled knowledge distillation (DKD).

    .. math::
        L = \frac{T^2}{N} \sum_i \left[
            \alpha\, \mathrm{KL}\left(b^t_i \,\Vert\, b^s_i\right)
            + \beta\, \mathrm{KL}\left(o^t_i \,\Vert\, o^s_i\right)\right]

    with :math:`b_i` the probability of the class :math:`y_i` against that of all others, and
    :math:`o_i` the distribution over the others alone, of the softmax at temperature T. It has no
    parameters. See :func:`graphkd.functional.dkd_loss`.

    Args:
        alpha: Weight of the class y against the others (TCKD in the paper).
        beta: Weight of the others among themselves (NCKD).
        temperature: T, without a unit.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value per row).

    Shapes:
        - **z_s:** :math:`[N, C]`
        - **z_t:** :math:`[N, C]`
        - **y:** :math:`[N]`, the class of each row
        - **index:** :math:`[M]`, or a mask :math:`[N]`; applies to ``y`` too
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If an option is out of range, shapes or devices do not fit, or there are fewer
            than three classes.
        TypeError: If logits are not floating-point tensors, or ``y`` not an integer one.
        IndexError: If ``index`` names a row, or ``y`` a class, that does not exist.

    Source: Zhao et al., CVPR 2022, arXiv 2203.08679.

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
    check_options = staticmethod(check_dkd_options)

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
        self, z_s: Tensor, z_t: Tensor, y: Tensor, *, index: Tensor | None = None
    ) -> Tensor:
        """The loss of student logits against the teacher's, given the classes."""
        return dkd_loss(z_s, z_t, y, index=index, **self.options)
