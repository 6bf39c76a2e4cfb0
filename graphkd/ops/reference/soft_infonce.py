"""The row values of G-CRD with soft targets in their obvious form: two softmaxes of all pairs.

To try another formula, change it here and pass ``backend="reference"``.
"""

import torch
from torch import Tensor

from graphkd.ops.divergence import softmax_kl
from graphkd.similarity import unit_rows


def soft_infonce(
    p: Tensor,
    q: Tensor,
    targets: Tensor | None,
    more: Tensor,
    more_targets: Tensor | None,
    temperature: float,
    teacher_temperature: float,
) -> Tensor:
    """KL(a_i ‖ b_i) for every row i, two softmaxes over the keys k: q, and more.

    b_ij is that of cos(p_i, k_j) / temperature, and a_ij of cos(t_i, t_j) / teacher_temperature.
    The targets t belong to the keys; None stands for the keys themselves, without a gradient.
    """
    keys = unit_rows(torch.cat([q, more]))
    t = unit_rows(q.detach() if targets is None else targets)
    others = unit_rows(more if more_targets is None else more_targets)
    return softmax_kl(
        t @ torch.cat([t, others]).T / teacher_temperature, unit_rows(p) @ keys.T / temperature
    )
