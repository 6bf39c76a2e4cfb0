r"""Moments of both sides, that merge: what the measures of whole spaces are made of.

A row x is described by :math:`(z, \lVert z\rVert^2, r)`: z is x less the mean of all rows, and r is
0 for a row of zeros and 1 for all others. Every measure made of moments is a function of the
centred second moments of these descriptions, within either side and across. They are kept for a
part of the rows, and merge without a loss of digits, as in Chan, Golub and LeVeque (1983). Another
mean makes other descriptions, but linearly: :math:`\lVert z + e\rVert^2` is
:math:`\lVert z\rVert^2 + 2\langle z, e\rangle + \lVert e\rVert^2`.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from graphkd._precision import exact
from graphkd.diagnostics._gate import row_blocks, unit_block


class Second(NamedTuple):
    """Sums of products of the descriptions of n rows, less their means."""

    n: int
    s: Tensor
    """Of the student with itself, :math:`[d_s + 2, d_s + 2]`."""
    cross: Tensor
    """Of the student with the teacher."""
    t: Tensor
    """Of the teacher with itself."""

    @property
    def squares(self) -> tuple[Tensor, Tensor]:
        """The sum of the squared lengths of either side's rows."""
        return self.s[:-2, :-2].trace(), self.t[:-2, :-2].trace()

    @property
    def three(self) -> list["Products"]:
        """What the products say of all pairs: of both sides, of the student, of the teacher."""
        a, b = self.squares
        each = ((self.cross, a * b), (self.s, a * a), (self.t, b * b))
        return [Products(self.n, block, squares) for block, squares in each]


class Products(NamedTuple):
    """One block of the products, x of one side and y of the other or the same, over n rows."""

    n: int
    block: Tensor
    squares: Tensor
    """The product of both sums of squared lengths."""

    @property
    def pairs(self) -> Tensor:
        r"""The sum over all i and j of :math:`\langle x_i, x_j\rangle \langle y_i, y_j\rangle`."""
        return self.block[:-2, :-2].square().sum()

    @property
    def diagonal(self) -> Tensor:
        """What leaving the pairs i = j out, and centring then, takes away if lengths are equal."""
        return self.squares / max(self.n - 1, 1)

    @property
    def lengths(self) -> Tensor:
        """The covariance of the squared lengths, times n."""
        return self.block[-2, -2]

    @property
    def zeros(self) -> Tensor:
        """The covariance of being a row of zeros, times n."""
        return self.block[-1, -1]

    @property
    def gaps(self) -> Tensor:
        """The covariance of r less the squared length, times n."""
        return self.zeros - self.block[-1, -2] - self.block[-2, -1] + self.lengths


class Moments(NamedTuple):
    """The moments of some rows. Columns are the student's description, and then the teacher's."""

    n: int
    width: int
    """How many columns are the student's."""
    scale: Tensor
    """The powers of two that rows of either side are divided by, so that no square overflows."""
    origin: Tensor
    """A row that stands for all, not divided: means and rows are taken from there."""
    mean: Tensor
    """The mean description. That of z is the mean of the rows, taken from the origin."""
    products: Tensor
    """Sums of products of descriptions less their mean."""

    @property
    def second(self) -> Second:
        """The products by sides."""
        w = self.width
        both = self.products
        return Second(self.n, both[:w, :w], both[:w, w:], both[w:, w:])

    @property
    def widths(self) -> tuple[int, int]:
        """The widths of the rows."""
        return self.width - 2, self.mean.size(0) - self.width - 2

    @property
    def sides(self) -> tuple[slice, slice]:
        """The columns of either side."""
        return slice(0, self.width), slice(self.width, self.mean.size(0))

    def pack(self) -> Tensor:
        """All of it as one row, of D² + 2D + 4 numbers for D columns."""
        head = self.mean.new_tensor([self.n, self.width])
        parts = head, self.scale, self.origin, self.mean, self.products.flatten()
        return torch.cat(parts).unsqueeze(0)


def unpack(row: Tensor) -> Moments:
    """The moments that :meth:`Moments.pack` has made a row of."""
    columns = math.isqrt(row.size(0) - 3) - 1
    sizes = [2, 2, columns, columns, columns**2]
    head, scale, origin, mean, products = torch.split(row, sizes)
    n, width = (int(x) for x in head.tolist())
    return Moments(n, width, scale, origin, mean, products.view(columns, columns))


def describe_rows(x: Tensor, *, scaled: bool = True) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The descriptions of float64 rows less their mean; scale, origin and mean as in Moments.

    A row, subtracted first, makes equal rows exactly zero. ``scaled=False`` is for unit rows, whose
    lengths are known.
    """
    scale = _power_of_two(x) if scaled else x.new_ones(())
    origin = x[0]
    z = x / scale - origin / scale
    middle = z.mean(dim=0)
    z = z - middle
    there = (x != 0).any(dim=1).to(x.dtype)
    rest = torch.stack([z.square().sum(dim=1), there], dim=1)
    middle_of_rest = rest.mean(dim=0)
    described = torch.cat([z, rest - middle_of_rest], dim=1)
    return (
        described,
        scale,
        torch.cat([origin, origin.new_zeros(2)]),
        torch.cat([middle, middle_of_rest]),
    )


def moments_of(x: Tensor, y: Tensor, *, scaled: bool = True) -> Moments:
    """The moments of float64 rows; at least one."""
    s, t = (describe_rows(h, scaled=scaled) for h in (x, y))
    both = torch.cat([s[0], t[0]], dim=1)
    origin, mean = (torch.cat([s[i], t[i]]) for i in (2, 3))
    scale = torch.stack([s[1], t[1]])
    return Moments(x.size(0), s[0].size(1), scale, origin, mean, both.T @ both)


def no_moments(width_s: int, width_t: int, like: Tensor) -> Moments:
    """The moments of no rows."""
    zeros = exact(like.new_empty(0)).new_zeros(width_s + width_t + 4)
    none = zeros.new_zeros(zeros.size(0), zeros.size(0))
    return Moments(0, width_s + 2, zeros.new_ones(2), zeros, zeros, none)


def side_moments(h_s: Tensor, h_t: Tensor, *, unit: bool = False) -> Moments:
    """The moments of two sides, or of their unit rows, a block at a time."""
    total = no_moments(h_s.size(1), h_t.size(1), h_s)
    width = h_s.size(1) + h_t.size(1)
    # Eight blocks for each merger, which takes a time of its own.
    for rows in row_blocks(h_s.device, h_s.size(0), width, blocks=8):
        x, y = ((unit_block if unit else exact)(h[rows]) for h in (h_s, h_t))
        total = merge(total, moments_of(x, y, scaled=not unit))
    return total


def merge(a: Moments, b: Moments) -> Moments:
    """The moments of the rows of both."""
    if a.n == 0 or b.n == 0:
        return b if a.n == 0 else a
    scale = torch.maximum(a.scale, b.scale)
    a, b = _rescaled(a, scale), _rescaled(b, scale)
    n = a.n + b.n
    share = b.n / n
    units = torch.cat(
        [x.expand(side.stop - side.start) for x, side in zip(scale, a.sides, strict=True)]
    )
    apart = b.origin / units - a.origin / units + b.mean - a.mean
    for side in a.sides:  # lengths and zeros follow; they depend on the mean
        apart[side.stop - 2 : side.stop] = 0
    a, b = _moved(a, -share * apart), _moved(b, (1 - share) * apart)
    for side in a.sides:
        rest = slice(side.stop - 2, side.stop)
        apart[rest] = b.mean[rest] - a.mean[rest]
    products = a.products + b.products
    products.addr_(apart, apart, alpha=a.n * (b.n / n))
    return Moments(n, a.width, scale, a.origin, a.mean + share * apart, products)


def _rescaled(m: Moments, scale: Tensor) -> Moments:
    """The same moments of rows divided by a larger scale."""
    ratio = m.scale / scale
    by = torch.ones_like(m.mean)
    for r, side in zip(ratio, m.sides, strict=True):
        by[side.start : side.stop - 2] = r
        by[side.stop - 2] = r * r
    return m._replace(scale=scale, mean=m.mean * by, products=m.products * by * by[:, None])


def _moved(m: Moments, away: Tensor) -> Moments:
    """The same moments, of descriptions about another centre: z + away for z."""
    mean, products = m.mean.clone(), m.products.clone()
    for side in m.sides:
        e, length = away[side], side.stop - 2
        products[:, length] += 2 * (products[:, side] @ e)
        products[length] += 2 * (e @ products[side])
        mean[length] += e.dot(e)
    return m._replace(mean=mean, products=products)


def _power_of_two(x: Tensor) -> Tensor:
    """The power of two next to the largest absolute entry; 1 if all are zero."""
    low, high = x.aminmax()
    largest = torch.maximum(-low, high)
    power = torch.exp2((torch.frexp(largest).exponent - 1).to(x.dtype))
    power = torch.where(largest.isfinite(), power, largest)
    return power.masked_fill(largest == 0, 1)
