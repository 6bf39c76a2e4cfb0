"""Losses on logits: soft targets (KD)."""

from torch import Tensor, nn

from graphkd.functional.logits.kd import (
    Standardize,
    Temperature,
    check_kd_options,
    default_temperature,
    kd_loss,
)
from graphkd.losses._base import DistillationLoss


class KDLoss(DistillationLoss):
    r"""Knowledge distillation by soft targets (KD).

    .. math:: L = T^2\, \mathrm{mean}_i\, \mathrm{KL}(p^t_i \Vert p^s_i)

    with the softmax p of z / T, for ``task="multiclass"``. With ``"multilabel"``, p is a sigmoid,
    and the mean runs over the observed entries; ``"regression"`` is the mean squared error. Its
    only parameter is a temperature that learns.
    :func:`graphkd.functional.kd_loss` explains the terms, and names errors and source.

    Args:
        temperature: T. Default: 4.0, and none for regression. An ``nn.Parameter`` is among
            ``loss.parameters()``; any other tensor is a constant, as a number is.
        task: The kind of prediction, as above.
        standardize: Use the standard scores of multiclass logits: True, or ``"population"``.
        divergence: Compare by ``"kl"``, ``"reverse_kl"`` or ``"js"``.
        reduction: As in the function.

    Shapes:
        - **z_s, z_t:** a row of logits for each node, :math:`[N, C]`
        - **temperature:** T of this call, instead of the constructor's, such as one that depends on
          the batch; a number, or a tensor :math:`[]` or :math:`[N]`
        - **weight:** a weight for each row, :math:`[N]`
        - **mask:** true where an entry is observed, :math:`[N, C]`
        - **index:** row numbers, or a mask :math:`[N]`
        - **output:** a scalar, or a value for each selected row

    Example:
        >>> import torch
        >>> from graphkd import KDLoss
        >>> KDLoss(temperature=1.0)(torch.tensor([[0.0, 0.0]]), torch.tensor([[4.0, 0.0]]))
        tensor(0.6031)
    """

    temperature: Temperature | None
    task: str
    standardize: Standardize
    divergence: str
    reduction: str
    _check_options = staticmethod(check_kd_options)

    def __init__(
        self,
        temperature: Temperature | None = None,
        *,
        task: str = "multiclass",
        standardize: Standardize = False,
        divergence: str = "kl",
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            temperature=default_temperature(temperature, task),
            task=task,
            standardize=standardize,
            divergence=divergence,
            reduction=reduction,
        )
        if isinstance(temperature, nn.Parameter) and temperature.dim():
            self._own_buffers = ("temperature",)  # each rank has its own rows

    def forward(
        self,
        z_s: Tensor,
        z_t: Tensor,
        *,
        temperature: Temperature | None = None,
        mask: Tensor | None = None,
        weight: Tensor | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """The loss of student logits against the teacher's."""
        options = self.options
        if temperature is not None:
            options["temperature"] = temperature
        return kd_loss(z_s, z_t, mask=mask, weight=weight, index=index, **options)
