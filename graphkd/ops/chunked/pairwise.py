"""Global LSP's row values: d × d moments for inner products, row blocks for the other kernels."""

import torch
import torch.nn.functional as F
from torch import Tensor

from graphkd._precision import exact, full_precision
from graphkd.ops._autograd import block_size, differentiable, empty_gradient
from graphkd.similarity import KERNELS, Kernel


def pairwise_gap(
    x_s: Tensor,
    x_t: Tensor,
    kernel: Kernel,
    gamma_s: Tensor,
    gamma_t: Tensor,
    chunk_size: int | None,
) -> Tensor:
    """The mean over j of (k(s_i, s_j) − k(t_i, t_j))², for every row i.

    An inner-product kernel needs only d × d moments; it takes them where that is the smaller way.
    """
    n, width = x_s.size(0), max(x_s.size(1), x_t.size(1))
    if kernel.name in ("linear", "cosine") and n > 2 * width and chunk_size is None:
        return _gram_gap(x_s, x_t)
    # Distances are wider numbers and pass through more of them at once.
    row = n if kernel.statistic == "dot" else 8 * n
    block = block_size(chunk_size, row)
    return _pairwise_gap(x_s, x_t, gamma_s, gamma_t, kernel.name, block)


def _gram_gap(x_s: Tensor, x_t: Tensor) -> Tensor:
    """``pairwise_gap`` of the inner product in O(N d²) time, in float64.

    With D = S − T and M = (S + T)/2 (the narrower one padded by zeros), the gap of a pair is
    ⟨d_i, m_j⟩ + ⟨m_i, d_j⟩. Its square summed over j is a quadratic form in d_i and m_i, which
    keeps its digits as S approaches T. The difference of the three plain Grams does not.
    """
    n, width = x_s.size(0), max(x_s.size(1), x_t.size(1))
    s, t = (F.pad(exact(x), (0, width - x.size(1))) for x in (x_s, x_t))
    half, mean = s - t, (s + t) / 2
    rows = (
        (half @ (mean.T @ mean) * half)
        + 2 * (half @ (mean.T @ half) * mean)
        + (mean @ (half.T @ half) * mean)
    ).sum(dim=1)
    # Rounding may leave a negative zero-sized rest.
    return (rows / max(n, 1)).clamp(min=0).to(x_s.dtype)


def _operand(kernel: Kernel, x: Tensor) -> Tensor:
    """The rows as the tiles use them.

    Distances are float64: torch's float32 ones are less accurate than the sum of squares that they
    replace, and the loss is a small difference of them near convergence.
    """
    return x if kernel.statistic == "dot" else exact(x)


def _tile(kernel: Kernel, x: Tensor, rows: slice) -> Tensor:
    """The kernel's statistic of a block of rows with all rows; distances by direct differences."""
    if kernel.statistic == "dot":
        return x[rows] @ x.T
    return _distances(x[rows], x).square_()


def _distances(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


@torch.library.custom_op("graphkd::pairwise_gap", mutates_args=())
def _pairwise_gap_op(
    x_s: Tensor, x_t: Tensor, gamma_s: Tensor, gamma_t: Tensor, kernel: str, block: int
) -> Tensor:
    spec, n = KERNELS[kernel], x_s.size(0)
    with full_precision(x_s.device):
        values = x_s.new_empty(n)
        x_s, x_t = _operand(spec, x_s), _operand(spec, x_t)
        for start in range(0, n, block):
            rows = slice(start, start + block)
            gap = spec.value(_tile(spec, x_s, rows), gamma_s)
            gap = gap - spec.value(_tile(spec, x_t, rows), gamma_t)
            values[rows] = gap.square_().sum(dim=1) / n
        return values


@torch.library.custom_op("graphkd::pairwise_gap_backward", mutates_args=())
def _pairwise_gap_backward_op(
    grad: Tensor,
    values: Tensor,
    x_s: Tensor,
    x_t: Tensor,
    gamma_s: Tensor,
    gamma_t: Tensor,
    kernel: str,
    block: int,
    need_s: bool,
    need_t: bool,
) -> tuple[Tensor, Tensor]:
    args = (grad, kernel, block)
    with full_precision(x_s.device):
        grad_s = _gap_gradient(x_s, x_t, gamma_s, gamma_t, *args) if need_s else x_s.new_empty(0)
        grad_t = _gap_gradient(x_t, x_s, gamma_t, gamma_s, *args) if need_t else x_t.new_empty(0)
    return grad_s, grad_t


def _gap_gradient(
    x: Tensor,
    other: Tensor,
    gamma: Tensor,
    other_gamma: Tensor,
    grad: Tensor,
    kernel: str,
    block: int,
) -> Tensor:
    """The gradient for ``x``. A pair counts in row i and in row j, with both rows' weights."""
    spec, n = KERNELS[kernel], x.size(0)
    gradient = torch.empty_like(x)
    x, other = _operand(spec, x), _operand(spec, other)
    for start in range(0, n, block):
        rows = slice(start, start + block)
        statistic = _tile(spec, x, rows)
        gap = spec.value(statistic, gamma) - spec.value(_tile(spec, other, rows), other_gamma)
        weights = gap.mul_(2 / n).mul_(grad[rows, None] + grad).mul_(spec.slope(statistic, gamma))
        if spec.statistic == "dot":
            gradient[rows] = weights @ x
        else:
            # Σ_j w_ij 2 (x_i − x_j), by direct differences: torch's own gradient of a distance
            # is (x_i − x_j)/‖x_i − x_j‖.
            distances = _distances(x[rows], x)
            gradient[rows] = torch.ops.aten._cdist_backward(
                weights.mul_(distances).mul_(2), x[rows], x, 2.0, distances
            )
    return gradient


@_pairwise_gap_op.register_fake
def _(
    x_s: Tensor, x_t: Tensor, gamma_s: Tensor, gamma_t: Tensor, kernel: str, block: int
) -> Tensor:
    return x_s.new_empty(x_s.size(0))


@_pairwise_gap_backward_op.register_fake
def _(
    grad: Tensor,
    values: Tensor,
    x_s: Tensor,
    x_t: Tensor,
    gamma_s: Tensor,
    gamma_t: Tensor,
    kernel: str,
    block: int,
    need_s: bool,
    need_t: bool,
) -> tuple[Tensor, Tensor]:
    return empty_gradient(x_s, need_s), empty_gradient(x_t, need_t)


_pairwise_gap = differentiable(
    torch.ops.graphkd.pairwise_gap.default, torch.ops.graphkd.pairwise_gap_backward.default
)
