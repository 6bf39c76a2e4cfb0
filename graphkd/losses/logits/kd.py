"""Losses on logits: soft targets (KD)."""

from torch import Tensor

from graphkd.functional.logits.kd import (
    Standardize,
    check_kd_options,
    default_temperature,
    kd_loss,
)
from graphkd.losses._base import DistillationLoss


class KDLoss(DistillationLoss):
    r"""Knowledge distillation by soft targets (KD).

    .. math::
        L = \frac{T^2}{N} \sum_i \mathrm{KL}\left(\sigma(z^t_i/T)\,\Vert\,\sigma(z^s_i/T)\right)

    for ``task="multiclass"``; for ``"multilabel"``, :math:`T^2` times the mean over the observed
    entries of the divergence between Bernoulli distributions; for ``"regression"``, the mean
    squared error. It has no parameters. See :func:`graphkd.functional.kd_loss`.

    Args:
        temperature: T, without a unit; default 4.0. Refused for regression, which has none.
        task: ``"multiclass"``, ``"multilabel"`` or ``"regression"``.
        standardize: Whether to divide each row of multiclass logits, less its mean, by its
            standard deviation first, on both sides. True takes the unbiased one (C - 1 in its
            denominator), ``"population"`` the one with C.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value per row).

    Shapes:
        - **z_s:** :math:`[N, C]`
        - **z_t:** :math:`[N, C]`
        - **mask:** :math:`[N, C]`, true where an entry is observed
        - **index:** :math:`[M]`, or a mask :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If an option is out of range, shapes or devices do not fit, or there is a
            single class in multiclass.
        TypeError: If logits are not floating-point tensors or ``mask`` is not boolean.
        IndexError: If ``index`` names a row that does not exist.

    Source: Hinton, Vinyals and Dean, 2015, arXiv 1503.02531. Standardised: Sun et al., CVPR 2024,
    arXiv 2403.01427.

    Example:
        >>> import torch
        >>> from graphkd import KDLoss
        >>> KDLoss(temperature=1.0)(torch.tensor([[0.0, 0.0]]), torch.tensor([[4.0, 0.0]]))
        tensor(0.6031)
    """

    temperature: float | None
    task: str
    standardize: Standardize
    reduction: str
    check_options = staticmethod(check_kd_options)

    def __init__(
        self,
        temperature: float | None = None,
        *,
        task: str = "multiclass",
        standardize: Standardize = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            temperature=default_temperature(temperature, task),
            task=task,
            standardize=standardize,
            reduction=reduction,
        )

    def forward(
        self,
        z_s: Tensor,
        z_t: Tensor,
        *,
        mask: Tensor | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """The loss of student logits against the teacher's."""
        return kd_loss(z_s, z_t, mask=mask, index=index, **self.options)
