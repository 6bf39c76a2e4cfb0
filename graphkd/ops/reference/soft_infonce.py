"""The row values of G-CRD with soft targets in their obvious form: two softmaxes of all pairs.

To try another formula, change it here and pass ``backend="reference"``.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from graphkd._precision import exact
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
    of_anchors: bool = False
    """Whether ``rows`` are the anchors."""

    def turned(self, q: Tensor) -> "Targets":
        """The targets of the keys q as anchors, which meet no further keys."""
        rows = q.detach() if self.rows is None else self.rows
        return Targets(self.temperature, rows, rows[:0], self.rows is None)


def soft_infonce(
    p: Tensor, q: Tensor, more: Tensor, targets: Targets, temperature: float | Tensor
) -> Tensor:
    """KL(a_i ‖ b_i) for every row i, two softmaxes over the keys k: q, and more.

    b_ij is that of cos(p_i, k_j) / temperature, and a_ij of cos(t_i, t_j) over the targets'
    temperature, of the targets t. These get no gradient.
    """
    dtype = p.dtype
    p, keys = unit_rows(exact(p)), unit_rows(exact(torch.cat([q, more])))
    t = unit_rows(exact(q.detach() if targets.rows is None else targets.rows))
    others = unit_rows(exact(more if targets.more is None else targets.more))

    def products(x: Tensor, y: Tensor) -> Tensor:
        return x.to(dtype) @ y.to(dtype).T

    a = products(t, torch.cat([t, others])) / targets.temperature
    b = products(p, keys) / temperature
    # If targets are the keys or the anchors, the difference of the sides' rows keeps its digits.
    difference = a - b
    if targets.rows is None and targets.more is None:
        difference = products(t / targets.temperature - p / temperature, keys)
    elif targets.of_anchors:
        difference = products(p, t / targets.temperature - keys / temperature)
    return softmax_kl(a, b, difference)
