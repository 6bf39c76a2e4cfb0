"""One loss against several teachers."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from graphkd._checks import check_positive
from graphkd._precision import has_rows
from graphkd.functional._options import check_reduction
from graphkd.functional.several._combine import (
    PairLoss,
    Weights,
    check_factors,
    combine,
    compared,
    located,
    loss_of_each,
    with_rows,
)
from graphkd.functional.several.layerwise import Layers, as_layers


def multi_teacher_loss(
    h_s: Any,
    h_t: Layers,
    loss: PairLoss | Sequence[PairLoss],
    *,
    weights: Weights = None,
    entropy: float = 0.0,
    weight: Tensor | None = None,
    index: Tensor | None = None,
    reduction: str = "mean",
    **arguments: Any,
) -> Tensor:
    r"""A weighted sum of one loss of a student against each of several teachers.

    Replaces ``sum(w * loss(h_s, h) for w, h in zip(weights, h_t))``.

    .. math::
        L = \frac1N \sum_i \Bigl( \sum_k w_{ik} \, \ell_i\bigl(h^s, h^{t,k}\bigr)
            + \lambda \sum_k w_{ik} \log (K w_{ik}) \Bigr)

    Weights that learn make the first term small by leaving the hard teachers out. The second term,
    with λ = ``entropy``, has a price for that: the free weights of one node settle at
    :math:`w_{ik} \propto \exp(-\ell_{ik} / \lambda)`, equal weights for a large λ, and the
    easiest teacher alone for λ → 0.

    Args:
        h_s: The student's embeddings or logits.
        h_t: The teachers': a list, or a dictionary by name. They get no gradient from a loss of
            this package.
        loss: A function ``loss(h_s, h_t, **arguments)``, or one for each teacher.
        weights: One number per teacher, or a tensor of them, or a tensor :math:`[N, K]` with a row
            per node, or per selected node if there is an ``index``, which needs row values
            (``reduction="none"``) of the inner loss: for a scalar it is averaged over them.
            Default: the mean.
        entropy: λ, for weights that are a tensor. Their rows must sum to 1.
        weight: A weight for each node, not negative, before ``index``, for the inner loss. A mean
            of row values divides by the weights' sum.
        index: Boolean mask or row numbers, for the inner loss.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, of the row values that an inner loss with
            ``reduction="none"`` returns. A scalar stays as it is.
        arguments: Further arguments of the inner loss, such as ``edge_index``.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** each :math:`[N, d_k]`
        - **weight:** :math:`[N]`
        - **output:** scalar, or one value per row for ``reduction="none"``

    Raises:
        ValueError: If there is no teacher, not one weight or loss per teacher, ``entropy`` is out
            of range or without weights that learn, or what the inner losses return does not fit
            together; and what they raise, with the teacher's name in front.
        TypeError: If the teachers are no list or dictionary.
        IndexError: If ``index`` names a row that does not exist.

    Source: Zhang et al., Multi-Scale Distillation from Multiple Graph Neural Networks, AAAI 2022:
    several teachers, weighed by attention. This is the sum of their code. The documentation gives
    their weights, and what differs.

    Example:
        >>> import torch
        >>> from graphkd.functional import kd_loss, multi_teacher_loss
        >>> z_s, teachers = torch.zeros(1, 2), [torch.zeros(1, 2), torch.tensor([[4.0, 0.0]])]
        >>> multi_teacher_loss(z_s, teachers, kd_loss, weights=[0.75, 0.25])
        tensor(0.4438)
    """
    name = "multi_teacher_loss"
    check_reduction(name, reduction)
    teachers = as_layers(name, "h_t", h_t, "teacher")
    check_factors(name, weights, len(teachers), "teacher")
    check_entropy(name, entropy, learned=isinstance(weights, Tensor))
    losses = loss_of_each(name, loss, len(teachers), "teacher")
    more = with_rows(name, weight, index, h_s, arguments)
    values = [
        located(name, "teacher", teacher, one, h_s, h, **more)
        for one, (teacher, h) in zip(losses, teachers.items(), strict=True)
    ]
    penalty, taken = None, more.get("index", h_s)
    some = not isinstance(taken, Tensor) or has_rows(taken)
    if isinstance(weights, Tensor) and entropy > 0 and some:
        penalty = entropy * unevenness(weights)
    rows = compared(h_s, more)
    return combine(name, values, weights, reduction, weight, index, rows, penalty)


def check_entropy(loss: str, entropy: float, *, learned: bool) -> None:
    """Raise unless ``entropy`` is 0, or positive and there are weights that it acts on."""
    if isinstance(entropy, (int, float)) and entropy == 0 and not isinstance(entropy, bool):
        return
    check_positive(f"{loss}: entropy", entropy)
    if not learned:
        raise ValueError(
            f"{loss}: entropy acts on weights that learn, and these are fixed; got {entropy!r}. "
            "Leave it out."
        )


def unevenness(weights: Tensor) -> Tensor:
    r"""The KL divergence of weights from equal ones, along the last dimension: 0 if equal."""
    least = torch.finfo(weights.dtype).tiny
    logs = weights.clamp(min=least).log() + math.log(weights.size(-1))
    return (weights * logs).sum(dim=-1)
