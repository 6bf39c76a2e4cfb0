"""Whether a measure is higher than for rows that are matched at random."""

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from graphkd._checks import check_count, describe
from graphkd._precision import exact, full_precision
from graphkd.diagnostics import alignment, neighbours, predictions, structure
from graphkd.diagnostics._gate import matched_sides, row_blocks, unit_side
from graphkd.diagnostics._moments import Second, describe_rows
from graphkd.functional._rows import check_generator
from graphkd.graph import resolve_edges

Measure: TypeAlias = Callable[[Tensor, Tensor], Tensor]
# The value if the teacher's rows are taken in some order.
Matched: TypeAlias = Callable[[Tensor], Tensor]

# Values that differ by no more than this part of them are equal.
_ROUNDING = 1e-12


class _Scores(NamedTuple):
    value: Tensor
    """The measure of the rows as they are matched."""
    mean: Tensor
    """The mean under random matchings."""
    std: Tensor
    """The standard deviation under random matchings, of a sample; NaN of a single one."""
    z: Tensor
    """How many standard deviations the value lies above the mean."""
    p: Tensor
    """The share of matchings whose value is at least as high, the given one among them."""


class PermutationTest(_Scores):
    """What :func:`permutation_test` returns: a named tuple of five scalars in float64.

    Example:
        >>> import torch
        >>> from graphkd.diagnostics import agreement, permutation_test
        >>> value, mean, std, z, p = permutation_test(agreement, torch.eye(4), torch.eye(4))
        >>> value
        tensor(1., dtype=torch.float64)
    """

    null: Tensor
    """The value under each random matching, beside the tuple."""

    def __new__(
        cls, value: Tensor, mean: Tensor, std: Tensor, z: Tensor, p: Tensor, null: Tensor
    ) -> "PermutationTest":
        """The five scalars, with the null's values beside them."""
        test = super().__new__(cls, value, mean, std, z, p)
        test.null = null
        return test

    def __getnewargs__(self) -> tuple[Tensor, ...]:
        return (*self, self.null)


def permutation_test(
    measure: Measure,
    h_s: Tensor,
    h_t: Tensor,
    *,
    permutations: int = 1000,
    generator: torch.Generator | None = None,
) -> PermutationTest:
    r"""Compare a measure with its values for rows that are matched at random.

    .. math::
        z = \frac{m - \bar m_0}{\sigma_0}, \qquad
        p = \frac{1 + \#\{m_0 \ge m\}}{1 + P}

    The teacher's rows are shuffled P times. What the measure is then, :math:`m_0`, it owes to the
    widths, the number of rows and the spread of either side, and to nothing that both have in
    common. A value says something as far as it is above that.

    The seven measures take a short way. Those that are made of moments take one
    :math:`N \times d_s \times d_t` product per permutation. Nearest neighbours are found once, so
    that of equally near nodes those that come first before the shuffle are taken. Set options by
    ``functools.partial(linear_cka, debiased=True)``, which takes the short way, too. Any other
    callable is called for each permutation.

    Values that differ by rounding count as equal. Where the null does not vary, z is infinite, or
    NaN if the value is the null's. A NaN or an infinity makes p NaN. For
    :func:`procrustes_disparity`, where smaller is more alike, z is negative and p near 1 for spaces
    that have something in common.

    Args:
        measure: A function of student and teacher rows that returns a number.
        h_s: Student rows: embeddings, or logits if the measure takes them.
        h_t: Teacher rows.
        permutations: P, how many matchings are drawn.
        generator: Where they are drawn from; default: torch's global one, on the CPU.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **output:** five scalars in float64, with ``null`` :math:`[P]` beside them

    Raises:
        ValueError: If row counts or devices differ, an input is not two-dimensional,
            ``permutations`` is below 1, or the measure returns more than a number; and what the
            measure raises.
        TypeError: If an input is not a floating-point tensor, or an option is of the wrong kind.

    Source: Mantel, Cancer Research 1967, for correlations of similarities; the 1 in p as in Phipson
    and Smyth, "Permutation p-values should never be zero", 2010, arXiv 1603.05766.

    Example:
        >>> import torch
        >>> from graphkd.diagnostics import linear_cka, permutation_test
        >>> generator = torch.Generator().manual_seed(0)
        >>> h_s, h_t = torch.randn(2, 20, 16, generator=generator)     # nothing in common
        >>> test = permutation_test(linear_cka, h_s, h_t, generator=generator)
        >>> f"{test.value:.2f} as against {test.mean:.2f} ± {test.std:.2f}: p = {test.p:.2f}"
        '0.45 as against 0.42 ± 0.04: p = 0.21'
    """
    if not callable(measure):
        raise TypeError(
            "permutation_test: measure must be a function of h_s and h_t; got "
            f"{describe(measure)}. Pass e.g. graphkd.diagnostics.linear_cka."
        )
    check_count("permutation_test: permutations", permutations, least=1)
    check_generator(generator)
    h_s, h_t = matched_sides("permutation_test", h_s, h_t)
    with torch.no_grad(), full_precision(h_s.device):
        value = _number(measure(h_s, h_t))
        matched = _matched(measure, h_s, h_t)
        device = "cpu" if generator is None else generator.device
        orders = (
            torch.randperm(h_s.size(0), generator=generator, device=device).to(h_s.device)
            for _ in range(permutations)
        )
        null = torch.stack([matched(order) for order in orders])
        return _scores(value.to(null), null)


def _scores(value: Tensor, null: Tensor) -> PermutationTest:
    room = _ROUNDING * torch.maximum(null.abs().amax(), value.abs())
    mean = null.mean()
    std = null.std() if null.size(0) > 1 else torch.full_like(mean, torch.nan)
    away = value - mean
    std = std.masked_fill(std <= room, 0)
    z = away.masked_fill(away.abs() <= room, 0) / std
    p = (1 + (null >= value - room).sum().to(null)) / (1 + null.numel())
    p = p.masked_fill(~(value.isfinite() & null.isfinite().all()), torch.nan)
    return PermutationTest(value, mean, std, z, p, null)


def _number(value: Any) -> Tensor:
    """What a measure returned, as a number in float64."""
    if not isinstance(value, Tensor):
        value = torch.as_tensor(value, device="cpu")
    if value.numel() != 1:
        raise ValueError(
            f"permutation_test: measure must return one number; got {describe(value)}. Reduce it, "
            "e.g. by .mean()."
        )
    return exact(value.detach().reshape(()))


def _matched(measure: Measure, h_s: Tensor, h_t: Tensor) -> Matched:
    """The measure of rows in another order, by the shortest way there is."""
    options: dict[str, Any] = {}
    function: Any = measure
    if isinstance(measure, functools.partial) and not measure.args:
        function, options = measure.func, measure.keywords
    prepare = _SHORT.get(function) if isinstance(function, FunctionType) else None
    if prepare is None or h_s.size(0) < 2:
        return lambda order: _number(measure(h_s, h_t[order]))
    return prepare(h_s, h_t, **options)


def _of_moments(
    h_s: Tensor, h_t: Tensor, *, formula: Callable[[Second], Tensor], unit: bool
) -> Matched:
    """A measure made of moments: only those across the sides change."""
    s, t = (
        describe_rows(unit_side(h) if unit else exact(h), scaled=not unit)[0] for h in (h_s, h_t)
    )
    own_s, own_t = s.T @ s, t.T @ t

    def value(order: Tensor) -> Tensor:
        cross = s.new_zeros(s.size(1), t.size(1))
        for rows in row_blocks(s.device, s.size(0), t.size(1)):
            cross.addmm_(s[rows].T, t.index_select(0, order[rows]))
        return formula(Second(s.size(0), own_s, cross, own_t))

    return value


def _of_cka(h_s: Tensor, h_t: Tensor, *, debiased: bool = False) -> Matched:
    formula = functools.partial(alignment.cka, debiased=debiased)
    return _of_moments(h_s, h_t, formula=formula, unit=False)


def _of_edges(h_s: Tensor, h_t: Tensor, *, edge_index: Any) -> Matched:
    """The student's cosines stay; the teacher's are those of the rows that meet on an edge."""
    edges = resolve_edges("permutation_test", edge_index, h_s.size(0), h_s.size(0), h_s.device)
    src, dst = structure.without_loops(edges.src, edges.dst)

    def along(unit: Tensor, src: Tensor, dst: Tensor) -> Tensor:
        return torch.cat(
            [unit.new_zeros(0, 1)]
            + [
                structure.below_one(unit[src[block]], unit[dst[block]])
                for block in row_blocks(unit.device, src.size(0), 2 * unit.size(1))
            ]
        )

    s, t = along(unit_side(h_s), src, dst), unit_side(h_t)

    def value(order: Tensor) -> Tensor:
        return structure.correlation_of_columns(s, along(t, order[src], order[dst]))

    return value


def _of_overlap(h_s: Tensor, h_t: Tensor, *, k: int = 10) -> Matched:
    near_s, near_t = (neighbours.nearest(unit_side(h), k) for h in (h_s, h_t))
    return lambda order: neighbours.shared(near_s, _renumbered(near_t, order))


def _of_second_order(h_s: Tensor, h_t: Tensor, *, k: int = 10) -> Matched:
    s, t = unit_side(h_s), unit_side(h_t)
    near_s, near_t = neighbours.nearest(s, k), neighbours.nearest(t, k)
    return lambda order: neighbours.cosine_to_union(s, t[order], near_s, _renumbered(near_t, order))


def _renumbered(near: Tensor, order: Tensor) -> Tensor:
    """The neighbours of rows taken in an order, by their new numbers."""
    place = torch.empty_like(order)
    place[order] = torch.arange(order.size(0), device=order.device)
    near = near[order]
    return place[near].masked_fill(near < 0, -1)


def _of_agreement(z_s: Tensor, z_t: Tensor) -> Matched:
    s, t = predictions.predicted(z_s), predictions.predicted(z_t)
    return lambda order: predictions.agreeing(s, t[order]).mean()


_SHORT: dict[Any, Callable[..., Matched]] = {
    alignment.linear_cka: _of_cka,
    alignment.procrustes_disparity: functools.partial(
        _of_moments, formula=alignment.disparity, unit=False
    ),
    structure.global_structure_correlation: functools.partial(
        _of_moments, formula=structure.correlation_of_pairs, unit=True
    ),
    structure.local_structure_correlation: _of_edges,
    neighbours.neighbour_overlap: _of_overlap,
    neighbours.second_order_cosine: _of_second_order,
    predictions.agreement: _of_agreement,
}
