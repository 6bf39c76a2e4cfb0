"""Losses on logits: soft targets (KD)."""

from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from graphkd._checks import check_choice, check_devices, check_temperature, describe
from graphkd._precision import full_precision, recorded, traced
from graphkd._slips import for_temperature
from graphkd.functional._options import check_reduction
from graphkd.functional._rows import matched_logits, reduce_rows, row_weights, select_rows
from graphkd.ops.reference.soft_targets import Softening
from graphkd.ops.row_primitives import soft_targets

TASKS = ("multiclass", "multilabel", "regression")
DIVERGENCES = ("kl", "reverse_kl", "js")
DEFAULT_TEMPERATURE = 4.0

Standardize: TypeAlias = bool | Literal["population"]
Temperature: TypeAlias = float | Tensor


def check_kd_options(
    loss: str,
    *,
    temperature: Temperature | None,
    task: str,
    standardize: Standardize,
    divergence: str,
    reduction: str,
) -> None:
    """Raise on an option of KD that is out of range."""
    check_choice(f"{loss}: task", task, TASKS)
    check_choice(f"{loss}: divergence", divergence, DIVERGENCES)
    check_reduction(loss, reduction)
    _check_standardize(loss, standardize, task)
    if divergence != "kl" and task != "multiclass":
        raise ValueError(
            f"{loss}: divergence={divergence!r} goes with task='multiclass'; got task={task!r}. "
            "Leave it out."
        )
    if temperature is None:
        return
    if task == "regression":
        raise ValueError(
            f"{loss}: task='regression' has no temperature; got {describe(temperature)}. Leave it "
            "out."
        )
    check_temperature(f"{loss}: temperature", temperature, of_rows=True)


def default_temperature(temperature: Temperature | None, task: str) -> Temperature | None:
    """The temperature of the task: the given one, else 4; regression has none."""
    return DEFAULT_TEMPERATURE if temperature is None and task != "regression" else temperature


def kd_loss(
    z_s: Tensor,
    z_t: Tensor,
    *,
    temperature: Temperature | None = None,
    task: str = "multiclass",
    standardize: Standardize = False,
    divergence: str = "kl",
    mask: Tensor | None = None,
    weight: Tensor | None = None,
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

    With the teacher's distribution q and the student's p, :math:`\mathrm{KL}(q \Vert p)` may give
    way to another ``divergence``. :math:`\mathrm{KL}(p \Vert q)` punishes what the teacher rules
    out, and not what the student leaves out. The divergence of Jensen and Shannon,
    :math:`\frac12 \mathrm{KL}(q \Vert m) + \frac12 \mathrm{KL}(p \Vert m)` with
    :math:`m = (p + q)/2`, is symmetric, and at most :math:`\log 2`. Each counts times :math:`T^2`.

    A class whose logit is −∞, or a large negative number, has probability 0. If that holds on both
    sides, or in the teacher, it adds what the limit says; a class that only the student has lost
    makes the value infinite. Of ``"reverse_kl"``, a class that only the teacher has lost does, and
    ``"js"`` is always finite. The student's gradient is finite.

    A temperature may be a tensor, and gets an exact gradient if it requires one. With one number
    for each row, row i's value is :math:`T_i^2` times its divergence. Such values, and those of
    ``"reverse_kl"`` and ``"js"``, are computed in float64.

    Args:
        z_s: Student logits (or predictions).
        z_t: Teacher logits (or predictions); they get no gradient.
        temperature: T, without a unit; default 4.0. A number, a 0-d tensor or Parameter, or a
            number for each row, before ``index``. Refused for regression, which has none.
        task: ``"multiclass"``, ``"multilabel"`` or ``"regression"``.
        standardize: Whether to divide each row of multiclass logits, minus its mean, by its
            standard deviation s. True takes the unbiased s (C - 1 in its denominator),
            ``"population"`` the s with C.
        divergence: ``"kl"``, the teacher's from the student's; ``"reverse_kl"``, the student's from
            the teacher's; or ``"js"``. The last two are for multiclass.
        mask: Boolean, true where an entry is observed (for multilabel and regression).
        weight: A weight for each row, not negative, before ``index``. The mean divides by the
            weights' sum; with a ``mask``, by the sum of the weights of all observed entries. It
            gets a gradient if it requires one.
        index: Boolean mask or row numbers of the rows that take part; applies to ``mask`` too.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``. One value per row, whose mean is the loss:
            with a ``mask``, a row's sum over its observed entries times N / (observed entries).

    Shapes:
        - **z_s:** :math:`[N, C]`
        - **z_t:** :math:`[N, C]`
        - **temperature:** a number, :math:`[]` or :math:`[N]`
        - **mask:** :math:`[N, C]`
        - **weight:** :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If shapes or devices differ, there is a single class in multiclass, a
            temperature is given for regression, ``mask`` is given for multiclass or
            ``standardize`` or another divergence for another task, a number is negative that must
            not be, or an option is out of range. Numbers in tensors are looked at on a CPU only.
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
        loss,
        temperature=temperature,
        task=task,
        standardize=standardize,
        divergence=divergence,
        reduction=reduction,
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
        mask = select_rows(loss, recorded(mask), chosen)
        # A NaN where nothing is observed must not reach arithmetic.
        s, t = s.masked_fill(~mask, 0), t.masked_fill(~mask, 0)
    if isinstance(scale, Tensor):
        scale = _selected(loss, scale, z_s, chosen)
    weight = row_weights(loss, weight, z_s, chosen)
    with full_precision(s.device):
        if scale is None:
            return _squared_error(s, t, mask, weight, reduction)
        kind = "softmax" if task == "multiclass" else "sigmoid"
        whole = mask is None and weight is None
        how = Softening(
            scale,
            kind,
            _degrees(standardize, z_s.size(1)),
            reduction if whole else "none",
            divergence,
        )
        rows = soft_targets(s, t, how)
        return rows if whole else _reduced(rows, mask, weight, reduction)


def _selected(loss: str, temperature: Tensor, z: Tensor, chosen: Tensor | None) -> Tensor:
    """The temperatures of the selected rows, or the one of all."""
    check_devices(loss, z_s=z, temperature=temperature)
    temperature = recorded(temperature)
    if temperature.dim() == 0:
        return temperature
    if temperature.shape != z.shape[:1]:
        raise ValueError(
            f"{loss}: temperature must be one number, shape (), or one per row, shape "
            f"({z.size(0)},); got {describe(temperature)}. {for_temperature(temperature)}"
        )
    return select_rows(loss, temperature, chosen)


def _degrees(standardize: Standardize, classes: int) -> int:
    """The denominator of the variance of standard scores; 0 for logits as they are."""
    if not standardize:
        return 0
    return classes - 1 if standardize is True else classes


def _squared_error(
    s: Tensor, t: Tensor, mask: Tensor | None, weight: Tensor | None, reduction: str
) -> Tensor:
    if mask is not None or weight is not None or reduction == "none":
        return _reduced((s - t).square().mean(dim=1), mask, weight, reduction)
    if reduction == "mean" and not traced() and s.size(0):
        return F.mse_loss(s, t)
    count = 1 if reduction == "sum" else max(s.size(0), 1)
    return F.mse_loss(s, t, reduction="sum") / (count * s.size(1))


def _reduced(rows: Tensor, mask: Tensor | None, weight: Tensor | None, reduction: str) -> Tensor:
    """Reduce row means over all entries, of which a mask says the observed ones."""
    if mask is None:
        return reduce_rows(rows, reduction, weight)
    # It makes the mean of the rows' values that of the observed entries.
    share = mask.numel() / mask.sum().clamp(min=1).to(rows.dtype)
    counted = None if weight is None else mask.sum(dim=1) * (share / mask.size(1))
    return reduce_rows(rows * share, reduction, weight, counted)


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
            f"{describe(mask)}. Of labels y, pass ~y.isnan(), or y != -1 where -1 marks a missing "
            "one; of a mask of zeros and ones, mask.bool()."
        )
    if mask.shape != z.shape:
        raise ValueError(
            f"{loss}: mask must have the shape of the logits, {tuple(z.shape)}; got "
            f"{tuple(mask.shape)}. It chooses entries; rows are chosen by index=."
        )
    check_devices(loss, z_s=z, mask=mask)
