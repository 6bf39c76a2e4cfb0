"""For KRD: how reliable a teacher is at each node, and the power by which that counts."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from graphkd._checks import check_count, check_entries, check_positive, describe
from graphkd._precision import exact, full_precision, traced
from graphkd.functional._rows import check_generator
from graphkd.functional.neighbours._edges import several_classes

# The powers that a fit may find; outside this range, the curve is a step.
_LEAST, _MOST = 0.01, 100.0


def measure_reliability(
    teacher: Callable[..., Tensor],
    x: Tensor,
    *args: Any,
    noise: float = 1.0,
    passes: int = 10,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""How steady the entropy of a teacher's predictions is under noise on the features.

    .. math::
        \rho_i = \frac1K \sum_{k=1}^K \left|H(f(X + \varepsilon_k)_i) - H(f(X)_i)\right|, \qquad
        r_i = 1 - \frac{\rho_i}{\max_j \rho_j}

    with the entropy H of the softmax, and independent Gaussian noise :math:`\varepsilon_k`. A node
    at which nothing changes has 1, the least reliable node has 0. If nothing changes at any node,
    all nodes have 1.

    Call it once, before the student is trained. The teacher runs without gradients. A Module must
    be in evaluation mode, so that dropout is not measured.

    Args:
        teacher: A function or Module that takes ``x`` and ``args`` and returns logits.
        x: The features.
        args: The teacher's further arguments, such as the graph.
        noise: The standard deviation of the noise, in the unit of the features.
        passes: K, how many times the teacher sees noisy features.
        generator: Source of the noise; default: torch's global one.

    Shapes:
        - **x:** :math:`[N, d]`
        - **output:** :math:`[N]`, in [0, 1]

    Raises:
        ValueError: If ``noise`` or ``passes`` is out of range, the teacher is a Module in training
            mode, or it does not return one row of at least two logits for each node.
        TypeError: If ``x`` or the teacher's result is not a floating-point tensor.

    Source: Wu, Lin, Huang and Li, ICML 2023, arXiv 2306.05628. The authors' code takes one pass,
    and ``noise=1.0``.

    Example:
        >>> import torch
        >>> from graphkd.functional import measure_reliability
        >>> weight = torch.tensor([[1.0, -1.0]])
        >>> x = torch.tensor([[0.0], [10.0], [100.0]])      # the further from 0, the surer
        >>> r = measure_reliability(lambda x: x @ weight, x)
        >>> r[0] < 0.1, r[1:] > 0.9
        (tensor(True), tensor([True, True]))
    """
    name = "measure_reliability"
    check_positive(f"{name}: noise", noise)
    check_count(f"{name}: passes", passes, least=1)
    check_generator(generator)
    if isinstance(teacher, nn.Module) and teacher.training:
        raise ValueError(
            f"{name}: the teacher must be in evaluation mode, lest its dropout be measured; got "
            f"{type(teacher).__name__} in training mode. Call graphkd.freeze(teacher), or "
            "teacher.eval()."
        )
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.dim() == 0:
        raise TypeError(
            f"{name}: x must be a floating-point tensor [N, d] of features; got {describe(x)}. "
            "Pass data.x, as the teacher takes it."
        )
    with torch.no_grad(), full_precision(x.device):
        before = _entropy(name, teacher(x, *args), x)
        change = torch.zeros_like(before)
        at = x.device if generator is None else generator.device
        for _ in range(passes):
            drawn = torch.randn(x.shape, generator=generator, device=at, dtype=x.dtype)
            noisy = x + noise * drawn.to(x.device)
            change += (_entropy(name, teacher(noisy, *args), x) - before).abs()
        if change.numel() == 0:
            return change.float()
        largest = change.max()
        return (1 - change / largest.masked_fill(largest == 0, 1)).float()


def _entropy(name: str, z: Any, x: Tensor) -> Tensor:
    """The entropy of each row's softmax."""
    z, _ = several_classes(name, z, z)
    if z.size(0) != x.size(0):
        raise ValueError(
            f"{name}: the teacher must return one row of logits per row of x; got {z.size(0)} and "
            f"{x.size(0)} rows. Pass the model that predicts for every node."
        )
    entropy: Tensor = torch.special.entr(exact(z).softmax(dim=1)).sum(dim=1)
    return entropy


def fit_reliability_power(
    z_s: Tensor,
    z_t: Tensor,
    reliability: Tensor,
    *,
    alpha: float = 1.0,
    momentum: float = 0.99,
    bins: int = 50,
) -> float:
    r"""Move the power of KRD's probabilities towards the student's present agreement.

    .. math::
        \alpha \leftarrow m\,\alpha + (1 - m) \arg\min_a \sum_b
            \left(y_b - (1 - x_b^a)\right)^2

    over the equal bins b of 1 − reliability that hold a node, with their centres :math:`x_b`. The
    share of a bin's nodes at which student and teacher predict the same class is :math:`y_b`,
    shifted and scaled to lie between 0 and 1. If all shares are equal, α stays.

    Args:
        z_s: The student's logits.
        z_t: The teacher's logits.
        reliability: The reliability of each node, see :func:`measure_reliability`.
        alpha: The power so far.
        momentum: m, between 0 and 1: the part of the old power that is kept.
        bins: The number of bins.

    Shapes:
        - **z_s:** :math:`[N, C]`
        - **z_t:** :math:`[N, C]`
        - **reliability:** :math:`[N]`, in [0, 1]

    Returns:
        The new power.

    Raises:
        ValueError: If shapes or devices differ, an option is out of range, or a reliability is NaN.
        TypeError: If an input is not a floating-point tensor.

    Source: Wu et al., ICML 2023, arXiv 2306.05628. The authors' code calls it once per epoch, from
    the fiftieth on. It places each bin at its lower end plus 0.05, and counts an empty bin as a
    bin without agreement.

    Example:
        >>> import torch
        >>> from graphkd.functional import fit_reliability_power
        >>> r = torch.linspace(0, 1, 1000)
        >>> same = torch.rand(1000) < 1 - (1 - r) ** 3      # they agree as at the power 3
        >>> z_t = torch.tensor([[1.0, 0.0]]).expand(1000, 2)
        >>> z_s = torch.where(same[:, None], z_t, -z_t)
        >>> 2 < fit_reliability_power(z_s, z_t, r, momentum=0.0) < 5
        True
    """
    name = "fit_reliability_power"
    check_fit_options(name, momentum=momentum, bins=bins)
    check_positive(f"{name}: alpha", alpha)
    s, t = several_classes(name, z_s.detach() if isinstance(z_s, Tensor) else z_s, z_t)
    check_reliability(name, reliability, s)
    if bool(reliability.isnan().any()):
        raise ValueError(
            f"{name}: reliability is NaN at {int(reliability.isnan().sum())} of "
            f"{reliability.numel()} nodes. Look for NaN in the teacher's logits."
        )
    same = exact((s.argmax(dim=1) == t.argmax(dim=1)).float())
    place = ((1 - exact(reliability)) * bins).long().clamp(max=bins - 1)
    count = same.new_zeros(bins).index_add(0, place, torch.ones_like(same))
    share = same.new_zeros(bins).index_add(0, place, same)
    filled = count > 0
    x = ((torch.arange(bins, device=s.device) + 0.5) / bins).to(same.dtype)[filled]
    y = share[filled] / count[filled]
    if y.numel() == 0 or y.max() == y.min():
        return float(alpha)
    fitted = _best_power(x, (y - y.min()) / (y.max() - y.min()))
    return momentum * float(alpha) + (1 - momentum) * fitted


def _best_power(x: Tensor, y: Tensor) -> float:
    """The a for which 1 − xᵃ is nearest to y: the best of a grid, then of ever finer grids."""
    low, high = math.log(_LEAST), math.log(_MOST)
    best = x.new_zeros(())
    for _ in range(4):
        grid = torch.linspace(low, high, 101, dtype=x.dtype, device=x.device)
        errors = (1 - x ** grid.exp().unsqueeze(1) - y).square().sum(dim=1)
        at = int(errors.argmin())
        best = grid[at]
        low, high = float(grid[max(at - 1, 0)]), float(grid[min(at + 1, 100)])
    return float(best.exp())


def check_fit_options(name: str, *, momentum: float, bins: int) -> None:
    """Raise on an option of the fit that is out of range."""
    if not isinstance(momentum, (float, int)) or not 0 <= momentum <= 1:
        raise ValueError(
            f"{name}: momentum must lie between 0 and 1; got {momentum!r}. 0 keeps nothing."
        )
    check_count(f"{name}: bins", bins, least=1)


def check_reliability(name: str, reliability: Any, like: Tensor) -> None:
    """Raise unless there is one number from 0 to 1 for each row; NaN passes, and the loss shows it.

    On a GPU, nothing reads the values, so that no step waits for them.
    """
    good = isinstance(reliability, Tensor) and reliability.is_floating_point()
    remedy = "measure_reliability makes it. Select the same nodes as in z_s."
    kind = "a floating-point tensor [N]"
    check_entries(name, "reliability", reliability, like, good, kind, lambda: remedy)
    if traced() or reliability.device.type != "cpu":
        return
    outside = (reliability < 0) | (reliability > 1)
    if bool(outside.any()):
        raise ValueError(
            f"{name}: reliability must lie between 0 (the least reliable) and 1; got "
            f"{reliability[outside][0].item()}. Of measured changes rho, pass 1 - rho / rho.max()."
        )
