"""Whether two models predict the same."""

import torch
from torch import Tensor

from graphkd._precision import exact
from graphkd.diagnostics._gate import matched_sides


def agreement(z_s: Tensor, z_t: Tensor) -> Tensor:
    r"""The share of rows for which student and teacher predict the same class.

    .. math::
        \frac1N \sum_i \left[\arg\max_c z^s_{ic} = \arg\max_c z^t_{ic}\right]

    Of equal logits the first class counts, and of a single class all rows agree. A row with a NaN
    makes the measure NaN, and so does having no rows.

    Args:
        z_s: Student logits.
        z_t: Teacher logits, of the same classes.

    Shapes:
        - **z_s:** :math:`[N, C]`
        - **z_t:** :math:`[N, C]`
        - **output:** scalar, in float64

    Raises:
        ValueError: If shapes or devices differ, or an input is not two-dimensional.
        TypeError: If an input is not a floating-point tensor.

    Source: Stanton et al., "Does Knowledge Distillation Really Work?", NeurIPS 2021,
    arXiv 2106.05945, among others.

    Example:
        >>> import torch
        >>> from graphkd.diagnostics import agreement
        >>> z_t = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
        >>> agreement(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), z_t)
        tensor(0.6667, dtype=torch.float64)
    """
    z_s, z_t = matched_logits("agreement", z_s, z_t)
    return agreeing(predicted(z_s), predicted(z_t)).mean()


def matched_logits(measure: str, z_s: Tensor, z_t: Tensor) -> tuple[Tensor, Tensor]:
    """The logits of both sides, checked and without a gradient."""
    classes = "Both must predict the same classes."
    names = ("z_s", "z_t")
    return matched_sides(measure, z_s, z_t, names=names, what="logits", projecting=classes)


def predicted(z: Tensor) -> Tensor:
    """The number of each row's class in float64; NaN for a row with a NaN."""
    return exact(z.argmax(dim=1).float()).masked_fill(z.isnan().any(dim=1), torch.nan)


def agreeing(s: Tensor, t: Tensor) -> Tensor:
    """1 where both classes are one, else 0; NaN where one is unknown."""
    return (s == t).to(s.dtype).masked_fill((s + t).isnan(), torch.nan)
