"""The similarity kernels, each formula once, with unit rows and the median bandwidth.

A kernel is a scalar function of one statistic of a pair of rows: their inner product or their
squared distance. Code that computes the statistic of many pairs (dense, in tiles, along edges)
gets every kernel from the table ``KERNELS``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from graphkd._checks import check_positive, describe
from graphkd._powers import exp_
from graphkd._precision import differentiated, followed, quick

Gamma: TypeAlias = float | Literal["median"]
KernelFunction: TypeAlias = Callable[[Tensor, Tensor], Tensor]

DEFAULT_GAMMA = 0.5
# So many numbers fit in a core's cache.
_CACHED = 2**18
# Rows are crowded if their squared distance from their centre is at most this part of the centre's
# own from the origin; about this many rows are asked.
CROWDED, _ASKED = 0.01, 64


@dataclass(frozen=True)
class Kernel:
    """One row of the table of kernels."""

    name: str
    unit: bool
    """Whether the kernel acts on normalised rows."""
    statistic: Literal["dot", "square"]
    """The statistic that it is a function of: the inner product or the squared distance."""
    value: Callable[[Tensor, Tensor | float], Tensor]
    """The kernel value, from the statistic and gamma."""
    slope: Callable[[Tensor, Tensor, Tensor | float], Tensor]
    """Its derivative by the statistic, from both and gamma; it may be written over the value."""
    inner: bool = False
    """Whether the kernel is the inner product itself."""
    from_equal: Callable[[Tensor, Tensor | float], Tensor] | None = None
    """For a kernel of distances: the value less that of equal rows, accurate for near rows."""
    value_: Callable[[Tensor, Tensor], Tensor] | None = None
    """``value`` without a gradient, written over the statistic, if the slope needs none."""

    def __reduce__(self) -> tuple[Callable[[str], "Kernel"], tuple[str]]:
        """Pickle the kernel by its name, because its lambdas cannot be pickled."""
        return kernel_named, (self.name,)


def kernel_named(name: str) -> Kernel:
    """The row of the table with that name, or ``SERIES`` or ``SIGMOID``."""
    return {SERIES.name: SERIES, SIGMOID.name: SIGMOID}.get(name) or KERNELS[name]


def _distance(square: Tensor) -> Tensor:
    """The square root; at zero, its derivatives of every order are zero."""
    if not (square.requires_grad or followed()):
        return square.sqrt()
    zero = square == 0
    return square.masked_fill(zero, 1).sqrt().masked_fill(zero, 0)


def _half_inverse(distance: Tensor) -> Tensor:
    """1/(2x), and zero at zero, written over the distance."""
    return F.threshold(distance, 0, torch.inf, inplace=True).reciprocal_().div_(2)


KERNELS: dict[str, Kernel] = {
    kernel.name: kernel
    for kernel in (
        Kernel(
            "linear",
            False,
            "dot",
            lambda t, _: t,
            lambda t, k, _: torch.ones_like(t),
            inner=True,
        ),
        Kernel(
            "cosine", True, "dot", lambda t, _: t, lambda t, k, _: torch.ones_like(t), inner=True
        ),
        Kernel("poly", True, "dot", lambda t, _: t * t, lambda t, k, _: 2 * t),
        Kernel(
            "l2",
            False,
            "square",
            lambda t, _: _distance(t),
            lambda t, k, _: _half_inverse(k),
            value_=lambda t, _: t.sqrt_(),
        ),
        Kernel(
            "rbf",
            False,
            "square",
            lambda t, gamma: (-gamma * t).exp_(),
            lambda t, k, gamma: k.mul_(-gamma),
            from_equal=lambda t, gamma: (-gamma * t).expm1(),
            value_=lambda t, gamma: exp_(t, -gamma),
        ),
    )
}


def _series(t: Tensor, coefficients: Any, *, slope: bool = False) -> Tensor:
    """c_1 t + c_2 t² + …, or its derivative, for a vector of coefficients."""
    total = torch.zeros_like(t)
    for power, coefficient in reversed(list(enumerate(coefficients.unbind(), 1))):
        total = total * t + (power * coefficient if slope else coefficient)
    return total if slope else total * t


# Users cannot name this kernel. Its coefficients are passed as gamma.
SERIES = Kernel("series", True, "dot", _series, lambda t, k, c: _series(t, c, slope=True))


# GKD's kernel. The programs for GPUs do not have it.
SIGMOID = Kernel("sigmoid", False, "dot", lambda t, _: t.tanh(), lambda t, k, _: 1 - k * k)


def resolve_kernel(
    loss: str, kernel: str | KernelFunction, gamma: Gamma
) -> Kernel | KernelFunction:
    """The table's row for a name, or the user's callable; raises on anything else."""
    if callable(kernel) and not isinstance(kernel, type):
        resolved: Kernel | KernelFunction = kernel
    elif isinstance(kernel, str) and kernel in KERNELS:
        resolved = KERNELS[kernel]
    else:
        raise ValueError(
            f"{loss}: kernel must be one of {', '.join(map(repr, KERNELS))} or a callable; "
            f"got {describe(kernel)}."
        )
    if isinstance(gamma, str):
        if gamma != "median":
            raise ValueError(f"{loss}: gamma must be a positive number or 'median'; got {gamma!r}.")
    else:
        check_positive(f"{loss}: gamma", gamma)
    if kernel != "rbf" and gamma != DEFAULT_GAMMA:
        raise ValueError(
            f"{loss}: gamma belongs to kernel='rbf'; got gamma={gamma!r} with kernel={kernel!r}. "
            "Leave it out."
        )
    return resolved


def unit_rows(h: Tensor) -> Tensor:
    r"""Rows divided by their Euclidean norm; an all-zero row stays zero and gets no gradient.

    .. math:: u_i = h_i / \lVert h_i \rVert_2, \qquad u_i = 0 \text{ where } h_i = 0

    Each row is first divided by its largest absolute entry, so that no square overflows or
    underflows. There is no epsilon.

    Shapes:
        - **h:** :math:`[N, d]`
        - **output:** :math:`[N, d]`

    Example:
        >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0], [3e-30, 4e-30]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000],
                [0.6000, 0.8000]])
    """
    unit: Tensor = differentiated(_UnitRows, h, lawful=True)
    return unit


def unit_and_inverse(h: Tensor) -> tuple[Tensor, Tensor]:
    """The rows divided by their norms, and the inverse norms: both zero for an all-zero row."""
    recorded = h.requires_grad and torch.is_grad_enabled()
    if h.device.type == "cpu" and not (recorded or followed()) and h.size(0):
        norm = torch.linalg.vector_norm(h, dim=-1, keepdim=True)
        low, high = norm.aminmax()
        # Squares of such norms neither underflow nor overflow.
        if low.item() > 1e-15 and high.item() < 1e15:
            return h / norm, norm.reciprocal_()
    # The result does not depend on the scale. So its derivative through `largest` is zero, and
    # detaching is exact.
    largest = h.detach().abs().amax(dim=-1, keepdim=True)
    zero = largest == 0
    largest = largest.masked_fill(zero, 1)
    scaled = h / largest
    norm = (scaled * scaled).sum(dim=-1, keepdim=True).masked_fill(zero, 1).sqrt()
    return (scaled / norm).masked_fill(zero, 0), (1 / norm / largest).masked_fill(zero, 0)


@quick
class _UnitRows(torch.autograd.Function):
    """∂L/∂h = (g − u ⟨u, g⟩) / ‖h‖, from h alone: the backward pass keeps nothing else."""

    @staticmethod
    def forward(h: Tensor) -> Tensor:
        return unit_and_inverse(h)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        unit, inverse = unit_and_inverse(*ctx.saved_tensors)
        return unit_gradient(grads[0], unit, inverse)


def unit_gradient(grad: Tensor, unit: Tensor, inverse: Tensor) -> Tensor:
    """The gradient for rows, from the gradient for the unit rows."""
    along = torch.linalg.vecdot(unit, grad).unsqueeze(-1)
    return torch.addcmul(grad, unit, along, value=-1) * inverse


def unit_gradient_(grad: Tensor, unit: Tensor, inverse: Tensor) -> None:
    """The same in place, outside of autograd, a block of rows at a time."""
    size = max(_CACHED // max(grad.size(1), 1), 1)
    for start in range(0, grad.size(0), size):
        g, u, i = (x[start : start + size] for x in (grad, unit, inverse))
        g.addcmul_(u, torch.linalg.vecdot(u, g).unsqueeze(-1), value=-1).mul_(i)


def crowded(x: Tensor, unit: bool) -> bool:
    """Whether the rows lie so close together, far from the origin, that their products agree.

    Then the products in float32 have lost the digits in which they differ. ``unit`` says that the
    rows are unit rows.
    """
    if x.dtype == torch.float64 or x.device.type == "mps":
        return False  # there is no wider type
    some = x[:: max(x.size(0) // _ASKED, 1)]
    centre = some.mean(dim=0)
    length = float(centre.dot(centre))
    # The mean squared distance from the centre; for unit rows, it follows from the centre's length.
    away = 1 - length if unit else float((some - centre).square().sum()) / max(some.size(0), 1)
    return away < CROWDED * length


def kernel_rows(kernel: Kernel, h: Tensor) -> Tensor:
    """The rows that the kernel acts on."""
    return unit_rows(h) if kernel.unit else h


def row_statistic(kernel: Kernel, x: Tensor, y: Tensor) -> Tensor:
    """The kernel's statistic between ``x`` and ``y`` along the last dimension, by broadcasting."""
    if kernel.statistic == "dot":
        return (x * y).sum(dim=-1)
    return (x - y).square().sum(dim=-1)


def apply_callable(loss: str, kernel: KernelFunction, x: Tensor, y: Tensor) -> Tensor:
    """Evaluate a user's kernel on broadcastable ``[..., d]`` inputs and check its result."""
    expected = (x[..., 0] + y[..., 0]).shape
    value: Any = kernel(x, y)
    if not isinstance(value, Tensor) or value.shape != expected:
        raise ValueError(
            f"{loss}: a callable kernel takes two broadcastable tensors [..., d] and returns their "
            f"similarity [...], here of shape {tuple(expected)}; got {describe(value)}. "
            "Reduce over the last dimension only, e.g. lambda x, y: (x * y).sum(-1)."
        )
    return value


def masked_median(distances: Tensor, counts: Tensor) -> Tensor:
    """The lower median of the ``distances`` where ``counts`` is true, with static shapes."""
    ordered = distances.masked_fill(~counts, torch.inf).sort().values
    middle = ((counts.sum() - 1) // 2).clamp(min=0)
    return ordered.gather(0, middle.view(1)).squeeze(0)


def median_gamma(median: Tensor) -> Tensor:
    """The bandwidth 1/(2 m²) of a median distance m, and 0.5 where m is zero or undefined."""
    usable = (median > 0) & (median < torch.inf)
    fallback = torch.full_like(median, DEFAULT_GAMMA)
    bandwidth = 0.5 / median.masked_fill(~usable, 1).square()
    return torch.where(usable, bandwidth.clamp(max=torch.finfo(median.dtype).max), fallback)
