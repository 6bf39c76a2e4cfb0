"""Losses on logits: soft targets (KD)."""

from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from graphkd._checks import check_choice, check_devices, check_positive, describe
from graphkd._precision import full_precision, traced
from graphkd.functional._options import check_reduction
from graphkd.functional._rows import matched_logits, reduce_rows, select_rows
from graphkd.ops.reference.soft_targets import Softening
from graphkd.ops.row_primitives import soft_targets

TASKS = ("multiclass", "multilabel", "regression")
DEFAULT_TEMPERATURE = 4.0

Standardize: TypeAlias = bool | Literal["population"]


def check_kd_options(
    loss: str, *, temperature: float | None, task: str, standardize: Standardize, reduction: str
) -> None:
    """Raise on an option of KD that is out of range."""
    check_choice(f"{loss}: task", task, TASKS)
    check_reduction(loss, reduction)
    _check_standardize(loss, standardize, task)
    if temperature is None:
        return
    if task == "regression":
        raise ValueError(
            f"{loss}: task='regression' has no temperature; got {temperature!r}. Leave it out."
        )
    check_positive(f"{loss}: temperature", temperature)


def default_temperature(temperature: float | None, task: str) -> float | None:
    """The temperature of the task: the given one, else 4; regression has none."""
    return DEFAULT_TEMPERATURE if temperature is None and task != "regression" else temperature


def kd_loss(
    z_s: Tensor,
    z_t: Tensor,
    *,
    temperature: float | None = None,
    task: str = "multiclass",
    standardize: Standardize = False,
    mask: Tensor | None = None,
    index: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Divergence of the student's predictions from the teacher's.

    For ``task="multiclass"``, replaces ``T**2 * F.kl_div(log_softmax(z_s / T), softmax(z_t / T),
    reduction="batchmean")``, without its loss of digits where the two agree:

    .. math::
        L = \frac{T^2}{N} \sum_i \mathrm{KL}\left(\sigma(z^t_i/T)\,\Vert\,\sigma(z^s_i/T)\right)

    with the softmax :math:`\sigma`. For ``task="multilabel"``, :math:`\sigma` is the sigmoid, and
    :math:`T^2` multiplies the mean over the observed entries of the divergence between Bernoulli
    distributions, which is 0 for a perfect student. For ``task="regression"``, the loss is the mean
    squared error over the observed entries.

    With ``standardize``, each row of logits becomes :math:`(z_i - \bar z_i) / s_i`, its standard
    score, on both sides before the temperature. So the student copies the order and the relative
    distances of the teacher's logits but not their scale. A row of equal logits becomes zero, and
    gets no gradient. The scores are computed in float64.

    A class whose logit is −∞, or a large negative number, has probability 0. If that holds on both
    sides, or in the teacher, it adds what the limit says; a class that only the student has lost
    makes the value infinite. The gradient is finite.

    Args:
        z_s: Student logits (or predictions).
        z_t: Teacher logits (or predictions); they get no gradient.
        temperature: T, without a unit; default 4.0. Refused for regression, which has none.
        task: ``"multiclass"``, ``"multilabel"`` or ``"regression"``.
        standardize: Whether to divide each row of multiclass logits, minus its mean, by its
            standard deviation s. True takes the unbiased s (C - 1 in its denominator),
            ``"population"`` the s with C.
        mask: Boolean, true where an entry is observed (for multilabel and regression).
        index: Boolean mask or row numbers of the rows that take part; applies to ``mask`` too.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``. One value per row, whose mean is the loss:
            with a ``mask``, a row's sum over its observed entries times N / (observed entries).

    Shapes:
        - **z_s:** :math:`[N, C]`
        - **z_t:** :math:`[N, C]`
        - **mask:** :math:`[N, C]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If shapes or devices differ, there is a single class in multiclass, a
            temperature is given for regression, ``mask`` is given for multiclass or
            ``standardize`` for another task, or an option is out of range.
        TypeError: If logits are not floating-point tensors or ``mask`` is not boolean.
        IndexError: If ``index`` names a row that does not exist.

    Source: Hinton, Vinyals and Dean, 2015, arXiv 1503.02531. The code of Joshi et al., 2022,
    averages over all N·C entries: its value is this one divided by T²·C. Its multilabel loss is
    the cross-entropy at T = 1, larger by the teacher's entropy, with the same gradient.
    Standardised: Sun et al., CVPR 2024, arXiv 2403.01427, whose code adds 1e-7 to s; ours has no
    epsilon.

    Example:
        >>> import torch
        >>> from graphkd.functional import kd_loss
        >>> kd_loss(torch.tensor([[0.0, 0.0]]), torch.tensor([[4.0, 0.0]]))
        tensor(1.7751)
        >>> z_s, z_t = torch.tensor([[0.0, 1.0, 3.0]]), torch.tensor([[5.0, 3.0, 1.0]])
        >>> kd_loss(z_s, z_t, temperature=2.0, standardize=True)
        tensor(1.2682)
        >>> kd_loss(10 * z_s, z_t, temperature=2.0, standardize=True)
        tensor(1.2682)
        >>> kd_loss(torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, -2.0]]), task="multilabel")
        tensor(0.4848)
        >>> kd_loss(torch.tensor([[1.0]]), torch.tensor([[3.0]]), task="regression")
        tensor(4.)
    """
    loss = "kd_loss"
    check_kd_options(
        loss, temperature=temperature, task=task, standardize=standardize, reduction=reduction
    )
    scale = default_temperature(temperature, task)
    s, t, chosen = matched_logits(loss, z_s, z_t, index)
    if task == "multiclass" and z_s.size(1) < 2:
        raise ValueError(
            f"{loss}: task='multiclass' needs at least two classes; got logits of shape "
            f"{tuple(z_s.shape)}. Use task='multilabel' for a single binary output."
        )
    _check_mask(loss, mask, z_s, task)
    if mask is not None:
        mask = select_rows(loss, mask, chosen)
    with full_precision(s.device):
        if scale is None:
            return _squared_error(s, t, mask, reduction)
        kind = "softmax" if task == "multiclass" else "sigmoid"
        if mask is None:
            degrees = _degrees(standardize, z_s.size(1))
            return soft_targets(s, t, Softening(scale, kind, degrees, reduction))
        s, t = _observed(s, t, mask)
        rows = soft_targets(s, t, Softening(scale, kind))
        return reduce_rows(rows * _share(mask, rows), reduction)


def _degrees(standardize: Standardize, classes: int) -> int:
    """The denominator of the variance of standard scores; 0 for logits as they are."""
    if not standardize:
        return 0
    return classes - 1 if standardize is True else classes


def _squared_error(s: Tensor, t: Tensor, mask: Tensor | None, reduction: str) -> Tensor:
    if mask is not None:
        s, t = _observed(s, t, mask)
        rows = (s - t).square().mean(dim=1)
        return reduce_rows(rows * _share(mask, rows), reduction)
    if reduction == "none":
        return (s - t).square().mean(dim=1)
    if reduction == "mean" and not traced() and s.size(0):
        return F.mse_loss(s, t)
    count = 1 if reduction == "sum" else max(s.size(0), 1)
    return F.mse_loss(s, t, reduction="sum") / (count * s.size(1))


def _observed(s: Tensor, t: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Both sides with zeros where nothing is observed: a NaN there must not reach arithmetic."""
    return s.masked_fill(~mask, 0), t.masked_fill(~mask, 0)


def _share(mask: Tensor, like: Tensor) -> Tensor:
    """What makes row means over all entries into values whose mean is that of the observed ones."""
    return mask.numel() / mask.sum().clamp(min=1).to(like.dtype)


def _check_standardize(loss: str, standardize: Standardize, task: str) -> None:
    if not isinstance(standardize, bool) and standardize != "population":
        raise ValueError(
            f"{loss}: standardize must be False, True or 'population'; got {standardize!r}."
        )
    if standardize and task != "multiclass":
        raise ValueError(
            f"{loss}: standardize goes with task='multiclass'; got task={task!r}, whose outputs do "
            "not compete within a row, so that their mean and scale carry meaning. Leave it out."
        )


def _check_mask(loss: str, mask: Tensor | None, z: Tensor, task: str) -> None:
    if mask is None:
        return
    if task == "multiclass":
        raise ValueError(
            f"{loss}: mask goes with task='multilabel' or 'regression'; a softmax needs every "
            "class. Use index to choose rows."
        )
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        raise TypeError(
            f"{loss}: mask must be a boolean tensor, true where an entry is observed; got "
            f"{describe(mask)}. Use ~y.isnan() or mask.bool()."
        )
    if mask.shape != z.shape:
        raise ValueError(
            f"{loss}: mask must have the shape of the logits, {tuple(z.shape)}; got "
            f"{tuple(mask.shape)}. It chooses entries; rows are chosen by index=."
        )
    check_devices(loss, z_s=z, mask=mask)
