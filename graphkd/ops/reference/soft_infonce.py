"""The row values of G-CRD with soft targets in their obvious form: two softmaxes of all pairs.

To try another formula, change it here and pass ``backend="reference"``.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from graphkd.ops.divergence import softmax_kl
from graphkd.similarity import unit_rows


class Targets(NamedTuple):
    """What an anchor's distribution over the keys is to be: that of the teacher's similarities."""

    temperature: float
    """The teacher's."""
    rows: Tensor | None = None
    """The teacher's row of each anchor and of its key; None: the keys themselves."""
    more: Tensor | None = None
    """The teacher's rows of the further keys; None: these keys themselves."""

    def turned(self, q: Tensor) -> "Targets":
        """The targets of the keys q as anchors, which meet no further keys."""
        rows = q.detach() if self.rows is None else self.rows
        return Targets(self.temperature, rows, rows[:0])


def soft_infonce(
    p: Tensor, q: Tensor, more: Tensor, targets: Targets, temperature: float | Tensor
) -> Tensor:
    """KL(a_i ‖ b_i) for every row i, two softmaxes over the keys k: q, and more.

    b_ij is that of cos(p_i, k_j) / temperature, and a_ij of cos(t_i, t_j) over the targets'
    temperature, of the targets t. These get no gradient.
    """
    p, keys = unit_rows(p), unit_rows(torch.cat([q, more]))
    t = unit_rows(q.detach() if targets.rows is None else targets.rows)
    others = unit_rows(more if targets.more is None else targets.more)
    a = t @ torch.cat([t, others]).T / targets.temperature
    return softmax_kl(a, p @ keys.T / temperature)
