"""A kernel's value on every edge, without E × d gathers.

Replaces ``k(x_src[src], x_dst[dst])``. Inner products are sampled dense products over the graph in
CSR form. Their gradients are sparse products over the graph and over its reverse. Squared distances
are direct differences, a block of edges at a time.
"""

import functools
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from graphkd._precision import exact, full_precision
from graphkd.graph import Edges
from graphkd.ops._autograd import empty_gradient, primitive
from graphkd.ops._blocks import numbers, slices
from graphkd.ops.segments import segment_max, segment_sum
from graphkd.similarity import (
    CROWDED,
    KERNELS,
    Kernel,
    kernel_named,
    row_statistic,
    unit_and_inverse,
    unit_gradient_,
)

# The rows of a block of edges hold at most this many numbers, so that they stay in a core's cache.
_BLOCK = 2**19
# So many pairs of edges say whether neighbours agree.
_ASKED = 256


def edge_similarity(
    x_src: Tensor,
    x_dst: Tensor,
    edges: Edges,
    kernel: Kernel,
    gamma: Tensor,
    chunk_size: int | None,
    relative: bool = False,
) -> Tensor:
    """k(x_src[src_e], x_dst[dst_e]) for every edge e; kernels normalise their rows themselves.

    If ``relative``, up to a number for each centre. So the values of edges between nearly equal
    rows keep the digits in which they differ.
    """
    statistic = _statistics(x_src, x_dst, edges, kernel, chunk_size, relative)
    if relative and kernel.statistic == "dot":
        return statistic
    values = kernel.value(statistic, gamma)
    if not relative or kernel.from_equal is None:
        return values
    # Where all values of a centre are near that of equal rows, their gaps from it have more digits.
    least = -segment_max(-values, edges.dst, edges.num_dst)
    near = (least > 0.5).index_select(0, edges.dst)
    return torch.where(near, kernel.from_equal(statistic, gamma), values)


def edge_squares(x: Tensor, edges: Edges, chunk_size: int | None) -> Tensor:
    """‖x_j − x_i‖² for every edge j → i."""
    return _statistics(x, x, edges, KERNELS["l2"], chunk_size)


def _statistics(
    x_src: Tensor,
    x_dst: Tensor,
    edges: Edges,
    kernel: Kernel,
    chunk_size: int | None,
    relative: bool = False,
) -> Tensor:
    """The kernel's statistic on every edge; if ``relative``, of inner products the value."""
    block = chunk_size or 0
    one = x_dst is x_src
    parts = (edges.src, edges.dst, edges.ptr, edges.order, edges.src_ptr)
    to = x_dst.detach() if one else x_dst
    return _edge_statistic(x_src, to, *parts, kernel.name, block, one, relative)


def _forward(
    x_src: Tensor,
    x_dst: Tensor,
    src: Tensor,
    dst: Tensor,
    ptr: Tensor,
    order: Tensor,
    src_ptr: Tensor,
    kernel: str,
    block: int,
    one: bool,
    relative: bool,
    need_src: bool,
    need_dst: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The statistic on every edge, nothing, and whether products are float64.

    If ``relative``, it is the value of a kernel of inner products, with its slope if that is not
    one. If neighbours agree, it is computed in float64, less its mean over a centre's edges.
    """
    _check_ids(src, x_src.size(0))
    _check_ids(dst, x_dst.size(0))
    with full_precision(x_src.device):
        spec = kernel_named(kernel)

        def statistic(rows_src: Tensor, rows_dst: Tensor) -> Tensor:
            values = rows_src.new_zeros(src.numel())
            # torch refuses a sparse matrix with more entries than places.
            if _sparse(spec, x_src) and 0 < src.numel() <= x_src.size(0) * x_dst.size(0):
                graph = _csr(ptr, src, values, x_src.size(0))
                values = torch.sparse.sampled_addmm(graph, rows_dst, rows_src.T, beta=0.0).values()
            else:
                for j, i, edges in _edge_blocks(src, dst, block, x_src):
                    values[edges] = row_statistic(
                        spec, rows_src.index_select(0, j), rows_dst.index_select(0, i)
                    )
            return values

        rows_src, _, rows_dst, _ = _rows(spec, x_src, x_dst, one, False)
        relative = relative and spec.statistic == "dot"
        wide = relative and _neighbours_agree(rows_src, src, dst)
        if wide:
            rows_src, _, rows_dst, _ = _rows(spec, x_src, x_dst, one, True)
        values, slope = statistic(rows_src, rows_dst), x_src.new_empty(0)
        if relative and not spec.inner:
            slope = spec.slope(values, values, 0.0).to(x_src.dtype)
            values = spec.value(values, 0.0)
        if wide:
            values = _less_mean(values, dst, ptr).to(x_src.dtype)
        return values, slope, torch.tensor(wide, device="cpu")


def _backward(
    grad: Tensor,
    slope: Tensor,
    wide: Tensor,
    x_src: Tensor,
    x_dst: Tensor,
    src: Tensor,
    dst: Tensor,
    ptr: Tensor,
    order: Tensor,
    src_ptr: Tensor,
    kernel: str,
    block: int,
    one: bool,
    relative: bool,
    need_src: bool,
    need_dst: bool,
) -> tuple[Tensor, Tensor]:
    """The gradients; if sources and targets are ``one``, the first gradient is for both."""
    with full_precision(x_src.device):
        spec = kernel_named(kernel)
        rows_src, inverse_src, rows_dst, inverse_dst = _rows(spec, x_src, x_dst, one, bool(wide))
        if wide:
            grad = _less_mean(exact(grad), dst, ptr)
        if slope.numel():
            grad = grad * slope
        grad_src = empty_gradient(rows_src, need_src).zero_()
        grad_dst = empty_gradient(rows_dst, need_dst).zero_()
        to_dst = grad_src if one else grad_dst
        if src.numel() == 0:
            return grad_src.to(x_src.dtype), grad_dst.to(x_src.dtype)
        if _sparse(spec, x_src):
            if to_dst.numel():
                to_dst.addmm_(_csr(ptr, src, grad.contiguous(), x_src.size(0)), rows_src)
            if need_src:
                ends, weights = dst.index_select(0, order), grad.index_select(0, order)
                grad_src.addmm_(_csr(src_ptr, ends, weights, x_dst.size(0)), rows_dst)
        else:
            for j, i, edges in _edge_blocks(src, dst, block, x_src):
                here, there = rows_src.index_select(0, j), rows_dst.index_select(0, i)
                weight = grad[edges, None]
                if spec.statistic == "dot":
                    to_j, to_i = there.mul_(weight), here.mul_(weight)
                else:
                    to_j = here.sub_(there).mul_(2 * weight)
                    to_i = -to_j
                if need_src:
                    grad_src.index_add_(0, j, to_j)
                if to_dst.numel():
                    to_dst.index_add_(0, i, to_i)
        for gradient, rows, inverse in (
            (grad_src, rows_src, inverse_src),
            (grad_dst, rows_dst, inverse_dst),
        ):
            if inverse is not None and gradient.numel():
                unit_gradient_(gradient, rows, inverse)
        return grad_src.to(x_src.dtype), grad_dst.to(x_src.dtype)


def _neighbours_agree(rows: Tensor, src: Tensor, dst: Tensor) -> bool:
    """Whether the rows of a centre's neighbours nearly agree, by a sample of pairs of edges.

    Then their inner products with the centre differ in late digits only.
    """
    if rows.dtype == exact(rows[:0]).dtype or src.numel() < 2:
        return False
    first = torch.arange(0, src.numel() - 1, max(src.numel() // _ASKED, 1), device=src.device)
    of_one = (dst[first] == dst[first + 1])[:, None]
    here, there = rows[src[first]] * of_one, rows[src[first + 1]] * of_one
    # Two rows are twice as far from each other as from their mean, in squares.
    return bool((here - there).square().sum() < 2 * CROWDED * here.square().sum())


def _less_mean(values: Tensor, dst: Tensor, ptr: Tensor) -> Tensor:
    """The values less their mean over each centre's edges."""
    means = segment_sum(values, dst, ptr.numel() - 1) / ptr.diff().clamp(min=1)
    return values - means.index_select(0, dst)


def _rows(
    kernel: Kernel, x_src: Tensor, x_dst: Tensor, one: bool, wide: bool
) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
    """The rows of both sides that the kernel acts on; each with inverse norms if of unit length."""
    if wide:
        x_src, x_dst = exact(x_src), exact(x_dst)
    if not kernel.unit:
        return x_src, None, x_dst, None
    src = unit_and_inverse(x_src)
    return *src, *(src if one else unit_and_inverse(x_dst))


def _sparse(kernel: Kernel, x: Tensor) -> bool:
    """Whether sparse products serve: for inner products, on devices where torch has them.

    A subclass of Tensor would make sparse matrices of its own, and torch cannot have these.
    """
    plain = type(x) in (Tensor, Parameter)
    return plain and kernel.statistic == "dot" and x.device.type in ("cpu", "cuda")


def _csr(ptr: Tensor, ends: Tensor, values: Tensor, width: int) -> Tensor:
    _silence_beta_warning()
    size, device = (ptr.numel() - 1, width), values.device
    return torch.sparse_csr_tensor(ptr, ends, values, size, device=device, check_invariants=False)


@functools.cache
def _silence_beta_warning() -> None:
    """Silence what torch says once in a process: that its CSR support is in beta."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor([0, 0], [], [], (1, 1), device="cpu", check_invariants=False)


def _check_ids(ids: Tensor, count: int) -> None:
    """Raise if a node does not exist: no code below checks this, and compiled graphs did not."""
    if ids.numel() and ids.device.type == "cpu":
        low, high = ids.aminmax()
        if low < 0 or high >= count:
            raise IndexError(
                f"edge_index names node {int(low if low < 0 else high)}, but there are {count} "
                f"nodes, numbered from 0. Ids must lie in [0, {count})."
            )


def _edge_blocks(
    src: Tensor, dst: Tensor, block: int, x: Tensor
) -> Iterator[tuple[Tensor, Tensor, slice]]:
    """The neighbours, the centres and the place of each block of edges; 0 fits it to ``x``."""
    fitting = max(numbers(x.device, _BLOCK) // max(x.size(1), 1), 1)
    for edges in slices(src.numel(), block or fitting):
        yield src[edges], dst[edges], edges


def _fake(x_src: Tensor, x_dst: Tensor, src: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    kernel, (relative, *_) = kernel_named(rest[4]), rest[-3:]
    curved = relative and kernel.statistic == "dot" and not kernel.inner
    slope = x_src.new_empty(src.numel() if curved else 0)
    return x_src.new_empty(src.numel()), slope, torch.empty((), dtype=torch.bool, device="cpu")


_edge_statistic = primitive(
    "edge_statistic",
    _forward,
    _backward,
    backend="chunked",
    fake=_fake,
    keeps=2,
)
