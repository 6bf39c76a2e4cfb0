"""Global LSP's row values in square tiles, and the gradients with them.

Replaces ``(k(s, s) - k(t, t)).square().mean(dim=1)`` and its N × N matrices. Here kernels normalise
their rows themselves.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from graphkd._precision import exact
from graphkd.ops._autograd import fused
from graphkd.similarity import KERNELS, Kernel, unit_and_inverse, unit_gradient_

# The side of a square tile: small enough for a core's cache, large enough for matrix products.
_SIDE = 512
# Squared distances above this part of the largest from the centre keep their digits in products of
# the input's precision, and so do the differences of their rows in a gradient.
_FAR = 0.25
# The centre is the median of about this many rows.
_SAMPLE = 512
# An rbf value is never below exp of this: processors are slow on what its products would be.
_VANISHED = -43.0


def pairwise_gap(
    x_s: Tensor,
    x_t: Tensor,
    kernel: Kernel,
    gamma_s: Tensor,
    gamma_t: Tensor,
    chunk_size: int | None,
) -> Tensor:
    """The mean over j of (k(s_i, s_j) − k(t_i, t_j))², for every row i."""
    return _pairwise_gap(x_s, x_t, gamma_s, gamma_t, kernel.name, chunk_size or _SIDE)


class _Rows:
    """Rows prepared for tiles of a kernel's statistic, and the way back for gradients.

    Squared distances come from norms and inner products about the median of the rows, which no
    outlier moves. Their error is below 2(d + 2)ε (‖x_i‖² + ‖x_j‖²), with norms about it too. In
    float64, anything below that counts as zero, and near pairs far from the origin keep their
    digits. A tile without near pairs needs no float64 under the rbf kernel, whose value is smaller
    the farther the pair; l2 does, because near convergence its gaps are small differences of large
    distances. Rows that are float64 already leave no room for l2: theirs are direct differences.
    """

    def __init__(self, kernel: Kernel, x: Tensor, gamma: Tensor) -> None:
        if kernel.unit:
            x, self.inverse = unit_and_inverse(x)
        wide = exact(x)
        self.dot = kernel.statistic == "dot"
        self.direct = kernel.name == "l2" and wide.dtype == x.dtype
        self.x, self.rbf = x, kernel.name == "rbf"
        if self.dot or self.direct or len(x) == 0:
            return
        some = wide[:: max(len(x) // _SAMPLE, 1)]
        self.wide = wide - some.median(dim=0).values
        self.wide_norms = self.wide.square().sum(dim=1)
        self.error = 2 * (x.size(1) + 2) * torch.finfo(wide.dtype).eps
        self.x, self.norms = self.wide.to(x.dtype), self.wide_norms.to(x.dtype)
        self.farthest = float(-_VANISHED / gamma) if self.rbf else torch.inf

    def statistic(self, i: slice, j: slice) -> tuple[Tensor, bool]:
        """The statistic of the rows i with the rows j, and whether some of them are near."""
        if self.dot:
            return self.x[i] @ self.x[j].T, False
        if self.direct:
            return _distances(self.x[i], self.x[j]).square_(), False
        longest = float(torch.maximum(self.wide_norms[i].max(), self.wide_norms[j].max()))
        if self.rbf:
            squares, least = _squares(self.x, self.norms, i, j)
            if least > _FAR * longest:
                return squares.clamp_(max=self.farthest), False
        squares, least = _squares(self.wide, self.wide_norms, i, j)
        if least <= 2 * self.error * longest:
            bound = (self.wide_norms[i, None] + self.wide_norms[j]).mul_(self.error)
            squares.masked_fill_(squares <= bound, 0)
        if self.rbf:
            squares = squares.to(self.x.dtype).clamp_(max=self.farthest)
        return squares, least <= _FAR * longest

    def pull(
        self, weights: Tensor, statistic: Tensor, near: bool, i: slice, j: slice, gradient: Tensor
    ) -> None:
        """Add the gradients of Σ w_ij · statistic_ij, over the pairs of a tile, to both its rows.

        A tile off the diagonal stands for its mirror, too.
        """
        if self.dot:
            gradient[i].addmm_(weights, self.x[j])
            if i != j:
                gradient[j].addmm_(weights.T, self.x[i])
            return
        if self.direct:
            # torch's own gradient of a distance is (x_i − x_j)/‖x_i − x_j‖.
            distances = statistic.sqrt()
            for here, there, w, d in ((i, j, weights, distances), (j, i, weights.T, distances.T)):
                gradient[here] += torch.ops.aten._cdist_backward(
                    (w * d * 2).contiguous(), self.x[here], self.x[there], 2.0, d.contiguous()
                )
                if i == j:
                    break
            return
        # x_i Σ w_ij − Σ w_ij x_j cancels between near rows. Identical ones pull at nothing.
        x = self.wide if near else self.x
        if near:
            weights = weights.masked_fill(statistic == 0, 0)
        weights = weights.to(x.dtype).mul_(2)
        gradient[i] += (x[i] * weights.sum(dim=1)[:, None]).addmm_(weights, x[j], alpha=-1)
        if i != j:
            gradient[j] += (x[j] * weights.sum(dim=0)[:, None]).addmm_(weights.T, x[i], alpha=-1)


def _squares(x: Tensor, norms: Tensor, i: slice, j: slice) -> tuple[Tensor, float]:
    """‖x_i − x_j‖² by inner products, and the least of a row with another; NaN stays NaN."""
    products = x[i] @ x[j].T
    squares = torch.add(norms[j], products, alpha=-2, out=products).add_(norms[i, None])
    if i == j:
        squares.fill_diagonal_(torch.inf)
    least = float(squares.amin())
    if i == j:
        squares.diagonal().copy_(norms[i] - norms[i])
    return squares, least


def _distances(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def _tiles(n: int, side: int) -> Iterator[tuple[slice, slice]]:
    """The tiles on and above the diagonal: kernels are symmetric, and the rest is their mirror."""
    blocks = [slice(start, min(start + side, n)) for start in range(0, n, side)]
    for place, i in enumerate(blocks):
        for j in blocks[place:]:
            yield i, j


def _sweep(
    weights: Tensor | None,
    x_s: Tensor,
    x_t: Tensor,
    gamma_s: Tensor,
    gamma_t: Tensor,
    kernel: str,
    side: int,
    need_s: bool,
    need_t: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    spec, n = KERNELS[kernel], x_s.size(0)
    sides = [
        (_Rows(spec, x_s, gamma_s), gamma_s, need_s),
        (_Rows(spec, x_t, gamma_t), gamma_t, need_t),
    ]
    rows = x_s.new_zeros(n)
    gradients = [
        torch.zeros_like(x) if need else x.new_empty(0)
        for x, need in ((x_s, need_s), (x_t, need_t))
    ]
    for i, j in _tiles(n, side):
        looks = [x.statistic(i, j) for x, _, _ in sides]
        values = [
            spec.value(statistic, gamma)
            for (statistic, _), (_, gamma, _) in zip(looks, sides, strict=True)
        ]
        gap = (values[0] - values[1]).to(x_s.dtype)
        # A pair counts in row i and in row j, with both rows' weights.
        outer = (
            gap * (4 / n) if weights is None else gap * (weights[i, None] + weights[j]) * (2 / n)
        )
        for (x, gamma, need), (statistic, near), value, gradient in zip(
            sides, looks, values, gradients, strict=True
        ):
            if need:
                pull = spec.slope(statistic, value, gamma).mul_(outer)
                x.pull(pull, statistic, near, i, j, gradient)
            outer.neg_()
        squares = gap.square_()
        rows[i] += squares.sum(dim=1)
        if i != j:
            rows[j] += squares.sum(dim=0)
    for (x, _, need), gradient in zip(sides, gradients, strict=True):
        if need and spec.unit:
            unit_gradient_(gradient, x.x, x.inverse)
    return rows / max(n, 1), gradients[0], gradients[1]


_pairwise_gap = fused("pairwise_gap", _sweep, backend="chunked")
