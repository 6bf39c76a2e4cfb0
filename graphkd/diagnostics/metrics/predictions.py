"""Whether two models predict the same, over batches and ranks."""

from typing import Any

import torch
from torch import Tensor

from graphkd.diagnostics.metrics._streamed import Streamed
from graphkd.diagnostics.predictions import agreeing, matched_logits, predicted


class Agreement(Streamed):
    r"""The share of equal predictions over batches; :func:`agreement` says more.

    .. math::
        \frac1N \sum_i \left[\arg\max_c z^s_{ic} = \arg\max_c z^t_{ic}\right]

    Shapes:
        - **z_s:** :math:`[N, C]`
        - **z_t:** :math:`[N, C]`
        - **output:** scalar, in float64

    Raises:
        ValueError: As the function.
        TypeError: As the function.

    Example:
        >>> import torch
        >>> from graphkd.diagnostics import Agreement
        >>> metric = Agreement()
        >>> metric.update(torch.eye(2), torch.eye(2))
        >>> metric.update(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]]))
        >>> metric.compute()
        tensor(0.6667, dtype=torch.float64)
    """

    same: Tensor
    rows: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        zero = torch.zeros((), dtype=torch.float64)
        self.add_state("same", default=zero, dist_reduce_fx="sum")
        self.add_state("rows", default=zero.clone(), dist_reduce_fx="sum")

    def update(self, z_s: Tensor, z_t: Tensor) -> None:
        """Add the rows of a batch."""
        z_s, z_t = matched_logits("Agreement", z_s, z_t)
        self.same = self.same + agreeing(predicted(z_s), predicted(z_t)).sum()
        self.rows = self.rows + z_s.size(0)

    def compute(self) -> Tensor:
        """The share of all rows so far."""
        return self.same / self.rows
