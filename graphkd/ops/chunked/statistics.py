"""Kernel values of one tile of pairs at a time, and their gradients.

A tile's rows and columns come from one set of rows, or from two sets about one centre.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from graphkd._precision import exact
from graphkd.ops._autograd import empty_gradient
from graphkd.similarity import Kernel, crowded, unit_and_inverse, unit_gradient_

# A squared distance above this part of the largest one from the centre keeps its digits in products
# of the input's precision. So does the difference of its rows in a gradient.
_FAR = 0.25
# The centre is the median of about so many rows; of the second number if there are few.
_SAMPLE, _SAMPLE_OF_FEW = 64, 16
# With fewer rows, l2 too takes the input's precision, while the gaps are at least this part of the
# distances: float64 would cost more than all else.
FEW = 512
_CLEAR = 0.05
# No rbf value is below exp of this: processors are slow on the tiny products of smaller values.
_VANISHED = -43.0


def sample_step(n: int) -> int:
    """The step between the rows that the centre is the median of."""
    return max(n // (_SAMPLE_OF_FEW if n < FEW else _SAMPLE), 1)


def centre_of(some: Tensor) -> Tensor:
    """The point that distances are measured from: the median, which no outlier moves."""
    # Of an expanded tensor, torch's median is what memory held that nobody wrote.
    return exact(some.contiguous().median(dim=0).values)


class Side:
    """The student's or the teacher's rows, prepared for tiles of a kernel's statistic.

    Inner products of crowded rows are float64: in float32 they would differ by rounding alone.

    Squared distances come from norms and inner products about the centre of the rows. Their error
    is below 2(d + 2)ε (‖x_i‖² + ‖x_j‖²), with norms about the centre too. In float64, any distance
    below that counts as zero, and near pairs far from the origin keep their digits. Under the rbf
    kernel, a tile without near pairs needs no float64, because far pairs have small values. Under
    l2 it does, because near convergence the gaps are small differences of large distances; a rough
    side looks whether they are. Rows that are float64 already have no wider type: under l2 they
    take direct differences.

    Args:
        kernel: The kernel.
        x: The rows as they came.
        gamma: The kernel's bandwidth.
        learns: Whether a gradient is collected.
        centre: The centre, if it is not the centre of these rows.
        rough: Whether l2 takes the input's precision too, where the gaps are clear.
    """

    def __init__(
        self,
        kernel: Kernel,
        x: Tensor,
        gamma: Tensor,
        learns: bool = False,
        centre: Tensor | None = None,
        rough: bool = False,
    ) -> None:
        self.kernel, self.gamma, self.learns, self.dtype = kernel, gamma, learns, x.dtype
        self.dot, self.rbf = kernel.statistic == "dot", kernel.name == "rbf"
        rows = x
        if kernel.unit:
            rows, self.inverse = unit_and_inverse(x)
        if self.dot and crowded(rows, kernel.unit):
            rows = exact(x)
            if kernel.unit:
                rows, self.inverse = unit_and_inverse(rows)
        self.x = x = rows
        self.gradient = torch.zeros_like(x) if learns else empty_gradient(x, learns)
        self.direct = kernel.name == "l2" and exact(x[:0]).dtype == x.dtype
        self.rough = rough and kernel.name == "l2" and not self.direct
        if self.dot or self.direct or len(x) == 0:
            return
        wide = exact(x)
        if centre is None:
            centre = centre_of(x[:: sample_step(len(x))])
        self.wide = wide - centre if wide is x else wide.sub_(centre)
        self.wide_norms = self.wide.square().sum(dim=1)
        self.error = 2 * (x.size(1) + 2) * torch.finfo(wide.dtype).eps
        self.x, self.norms = self.wide.to(x.dtype), self.wide_norms.to(x.dtype)
        # Infinite beyond the range of the rows' dtype, because clamp would refuse the number.
        self.farthest = float((-_VANISHED / gamma).to(x.dtype)) if self.rbf else torch.inf

    def finished_gradient(self) -> Tensor:
        """The gradient for the rows as they came."""
        if self.learns and self.kernel.unit:
            unit_gradient_(self.gradient, self.x, self.inverse)
        return self.gradient.to(self.dtype)

    def statistic(self, i: slice, other: "Side", j: slice) -> tuple[Tensor, bool]:
        """The statistic of the rows i with the other's rows j, and whether some of them are near.

        The other may be this side itself.
        """
        if self.dot:
            return self.x[i] @ other.x[j].T.to(self.x.dtype), False
        if self.direct:
            return _distances(self.x[i], other.x[j]).square_(), False
        own = other is self and i == j
        longest = self.wide_norms[i].max().item()
        if not own:
            longest = max(longest, other.wide_norms[j].max().item())
        narrow = self.rbf or self.rough
        if narrow and longest < _FAR * torch.finfo(self.x.dtype).max:  # no square overflows
            squares, least = _squares(self.x[i], self.norms[i], other.x[j], other.norms[j], own)
            if least > _FAR * longest:
                return squares.clamp_(max=self.farthest) if self.rbf else squares, False
        here, there = self.wide_norms[i], other.wide_norms[j]
        squares, least = _squares(self.wide[i], here, other.wide[j], there, own)
        if least <= 2 * self.error * longest:
            squares.masked_fill_(squares <= (here[:, None] + there).mul_(self.error), 0)
        if self.rbf:
            squares = squares.to(self.x.dtype).clamp_(max=self.farthest)
        return squares, least <= _FAR * longest

    def kernel_value(self, statistic: Tensor, near: bool) -> Tensor:
        """The kernel's values of a tile, written over its statistic if that is not needed again."""
        overwrite = self.kernel.value_
        if overwrite is None or near or self.direct:
            return self.kernel.value(statistic, self.gamma)
        return overwrite(statistic, self.gamma)

    def pull(
        self, weights: Tensor, statistic: Tensor, near: bool, i: slice, other: "Side", j: slice
    ) -> None:
        """Collect the gradients of Σ w_ij · statistic_ij, over the pairs of a tile.

        A tile of this side with itself, off the diagonal, also stands for its mirror. The rows of
        another side get no gradient.
        """
        mirrored = other is self and i != j
        if self.dot:
            weights = weights.to(self.x.dtype)
            self.gradient[i].addmm_(weights, other.x[j].to(self.x.dtype))
            if mirrored:
                self.gradient[j].addmm_(weights.T, self.x[i])
            return
        if self.direct:
            # torch's own gradient of a distance is (x_i − x_j)/‖x_i − x_j‖.
            distances = statistic.sqrt()
            looks = [(i, other.x[j], weights, distances)]
            if mirrored:
                looks.append((j, self.x[i], weights.T, distances.T))
            for here, there, w, d in looks:
                self.gradient[here] += torch.ops.aten._cdist_backward(
                    (w * d * 2).contiguous(), self.x[here], there, 2.0, d.contiguous()
                )
            return
        # x_i Σ w_ij − Σ w_ij x_j cancels between near rows. Identical rows do not pull.
        x, y = (self.wide, other.wide) if near else (self.x, other.x)
        if near:
            weights = weights.masked_fill(statistic == 0, 0)
        weights = weights.to(x.dtype).mul_(2)
        self.gradient[i] += (x[i] * weights.sum(dim=1)[:, None]).addmm_(weights, y[j], alpha=-1)
        if mirrored:
            self.gradient[j] += (x[j] * weights.sum(dim=0)[:, None]).addmm_(
                weights.T, x[i], alpha=-1
            )


def tile_squares(
    here: Sequence[Side], there: Sequence[Side], i: slice, j: slice, factor: Tensor | float | None
) -> Tensor:
    """The squared gaps between student and teacher of a tile's pairs.

    Args:
        here: Student and teacher, whose rows i make the tile's rows.
        there: The same, or the sides whose rows j make its columns.
        i: The tile's rows.
        j: Its columns.
        factor: Multiplies the gaps in the gradients that the sides collect; None stands for 1.
    """

    def force(gap: Tensor, slope: Tensor | None) -> Tensor:
        pull = gap if slope is None else slope.mul_(gap)
        return pull if factor is None else pull * factor

    return tile_gaps(here, there, i, j, force).square_()


def tile_gaps(
    here: Sequence[Side],
    there: Sequence[Side],
    i: slice,
    j: slice,
    force: Callable[[Tensor, Tensor | None], Tensor],
) -> Tensor:
    """The gaps themselves; ``force`` turns them and the kernel's slope into the pull on a side.

    It may write over the slope, and give the gaps back. None stands for a slope of 1.
    """
    dtype, teacher = here[0].gradient.dtype, here[1]
    looks = [x.statistic(i, y, j) for x, y in zip(here, there, strict=True)]
    values = [
        x.kernel_value(statistic, near) for x, (statistic, near) in zip(here, looks, strict=True)
    ]
    value, other = values
    # A side that does not learn needs its values no longer: the gap is written over them.
    over = other if value.dtype == other.dtype and not teacher.learns else None
    gap = torch.sub(value, other, out=over).to(dtype)
    if here[0].rough and not _clear(gap, value):
        for x in here:
            x.rough = False
        return tile_gaps(here, there, i, j, force)
    for x, y, (statistic, near), value in zip(here, there, looks, values, strict=True):
        if not x.learns:
            continue
        slope = None
        if not x.kernel.inner:
            # The wider precision is for near pairs, and for the gap.
            value = value if near or x.direct else value.to(dtype)
            slope = x.kernel.slope(statistic, value, x.gamma)
        pull = force(gap, slope)
        x.pull(pull if x is here[0] else -pull, statistic, near, i, y, j)
    return gap


def _clear(gap: Tensor, value: Tensor) -> bool:
    sizes = torch.linalg.vector_norm(gap), torch.linalg.vector_norm(value)
    return bool(sizes[0] >= _CLEAR * sizes[1])


def _squares(
    x: Tensor, x_norms: Tensor, y: Tensor, y_norms: Tensor, own: bool
) -> tuple[Tensor, float]:
    """‖x_i − y_j‖² by inner products, and the least one between different rows; NaN stays NaN."""
    squares = torch.addmm(y_norms, x, y.T, alpha=-2).add_(x_norms[:, None])
    if own:
        squares.fill_diagonal_(torch.inf)
    least = squares.amin().item()
    if own:
        squares.diagonal().copy_(x_norms - x_norms)
    return squares, least


def _distances(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
