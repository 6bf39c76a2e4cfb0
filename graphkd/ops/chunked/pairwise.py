"""Global LSP's row values: d × d moments for inner products, square tiles for other kernels."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from graphkd._precision import exact, full_precision
from graphkd.ops._autograd import differentiable, empty_gradient
from graphkd.similarity import KERNELS, Kernel

# The side of a square tile: 8 MiB in float64.
_SIDE = 1024


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
    # A row count that a mask gives is not known while compiling; the moments suit any.
    if kernel.name in ("linear", "cosine") and chunk_size is None:
        width = max(x_s.size(1), x_t.size(1))
        if torch.compiler.is_compiling() or x_s.size(0) > 2 * width:
            return _gram_gap(x_s, x_t)
    return _pairwise_gap(x_s, x_t, gamma_s, gamma_t, kernel.name, chunk_size or _SIDE)


def _gram_gap(x_s: Tensor, x_t: Tensor) -> Tensor:
    """``pairwise_gap`` of the inner product in O(N d²) time, in float64.

    With D = S − T and M = (S + T)/2 (the narrower one padded by zeros), the gap of a pair is
    ⟨d_i, m_j⟩ + ⟨m_i, d_j⟩. Its square summed over j is a quadratic form in d_i and m_i, which
    keeps its digits as S approaches T. The difference of the three plain Grams does not.
    """
    n, width = x_s.size(0), max(x_s.size(1), x_t.size(1))
    s, t = (F.pad(exact(x), (0, width - x.size(1))) for x in (x_s, x_t))
    apart, mean = s - t, (s + t) / 2
    rows = (
        (apart @ (mean.T @ mean) * apart)
        + 2 * (apart @ (mean.T @ apart) * mean)
        + (mean @ (apart.T @ apart) * mean)
    ).sum(dim=1)
    # Rounding may leave a negative zero-sized rest.
    return (rows / max(n, 1)).clamp(min=0).to(x_s.dtype)


class _Rows:
    """Rows prepared for tiles of a kernel's statistic, and the way back for gradients.

    Squared distances come from norms and inner products in float64, about the centre of the rows.
    With R the largest distance from the centre, their error is below 4(d + 2)ε R²; anything
    below that counts as zero. So distances of float32 rows are off by some float32 roundings of R
    at most, and near pairs far from the origin keep their digits. Rows that are float64 already
    leave no such room: theirs are direct differences.
    """

    def __init__(self, kernel: Kernel, x: Tensor) -> None:
        self.dot = kernel.statistic == "dot"
        wide = x if self.dot else exact(x)
        self.direct = not self.dot and wide.dtype == x.dtype
        self.x = wide if self.dot or self.direct else wide - wide.mean(dim=0)
        self.norms = self.x.square().sum(dim=1)
        spread = self.norms.max() if len(x) else self.norms.sum()
        self.floor = 4 * (x.size(1) + 2) * torch.finfo(wide.dtype).eps * spread

    def statistic(self, i: slice, j: slice) -> Tensor:
        """The statistic of the rows i with the rows j."""
        if self.dot:
            return self.x[i] @ self.x[j].T
        if self.direct:
            return _distances(self.x[i], self.x[j]).square_()
        squares = (self.x[i] @ self.x[j].T).mul_(-2).add_(self.norms[j]).add_(self.norms[i, None])
        return squares.masked_fill_(squares <= self.floor, 0)

    def pull(self, weights: Tensor, i: slice, j: slice) -> Tensor:
        """The gradient for the rows i of Σ w_ij · statistic_ij."""
        if self.dot:
            return weights @ self.x[j]
        if self.direct:
            # torch's own gradient of a distance is (x_i − x_j)/‖x_i − x_j‖.
            distances = _distances(self.x[i], self.x[j])
            gradient: Tensor = torch.ops.aten._cdist_backward(
                weights * distances * 2, self.x[i], self.x[j], 2.0, distances
            )
            return gradient
        return (self.x[i] * weights.sum(dim=1, keepdim=True) - weights @ self.x[j]).mul_(2)


def _distances(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def _tiles(n: int, side: int) -> Iterator[tuple[slice, slice]]:
    """The tiles on and above the diagonal: kernels are symmetric, and the rest is their mirror."""
    blocks = [slice(start, min(start + side, n)) for start in range(0, n, side)]
    for place, i in enumerate(blocks):
        for j in blocks[place:]:
            yield i, j


@torch.library.custom_op("graphkd::pairwise_gap", mutates_args=())
def _pairwise_gap_op(
    x_s: Tensor, x_t: Tensor, gamma_s: Tensor, gamma_t: Tensor, kernel: str, side: int
) -> Tensor:
    spec, n = KERNELS[kernel], x_s.size(0)
    with full_precision(x_s.device):
        student, teacher = _Rows(spec, x_s), _Rows(spec, x_t)
        values = student.x.new_zeros(n)
        for i, j in _tiles(n, side):
            gap = spec.value(student.statistic(i, j), gamma_s)
            gap = gap - spec.value(teacher.statistic(i, j), gamma_t)
            gap.square_()
            values[i] += gap.sum(dim=1)
            if i != j:
                values[j] += gap.sum(dim=0)
        return (values / max(n, 1)).to(x_s.dtype)


@torch.library.custom_op("graphkd::pairwise_gap_backward", mutates_args=())
def _pairwise_gap_backward_op(
    grad: Tensor,
    values: Tensor,
    x_s: Tensor,
    x_t: Tensor,
    gamma_s: Tensor,
    gamma_t: Tensor,
    kernel: str,
    side: int,
    need_s: bool,
    need_t: bool,
) -> tuple[Tensor, Tensor]:
    args = (grad, kernel, side)
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
    side: int,
) -> Tensor:
    """The gradient for ``x``. A pair counts in row i and in row j, with both rows' weights."""
    spec, n = KERNELS[kernel], x.size(0)
    own, others = _Rows(spec, x), _Rows(spec, other)
    gradient = torch.zeros_like(own.x)
    for i, j in _tiles(n, side):
        statistic = own.statistic(i, j)
        weights = spec.value(statistic, gamma) - spec.value(others.statistic(i, j), other_gamma)
        weights.mul_(2 / n).mul_(grad[i, None] + grad[j]).mul_(spec.slope(statistic, gamma))
        gradient[i] += own.pull(weights, i, j)
        if i != j:
            gradient[j] += own.pull(weights.T, j, i)
    return gradient.to(x.dtype)


@_pairwise_gap_op.register_fake
def _(x_s: Tensor, x_t: Tensor, gamma_s: Tensor, gamma_t: Tensor, kernel: str, side: int) -> Tensor:
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
    side: int,
    need_s: bool,
    need_t: bool,
) -> tuple[Tensor, Tensor]:
    return empty_gradient(x_s, need_s), empty_gradient(x_t, need_t)


_pairwise_gap = differentiable(
    torch.ops.graphkd.pairwise_gap.default, torch.ops.graphkd.pairwise_gap_backward.default
)
