"""``(x_src[src] * x_dst[dst]).sum(-1)`` a block of edges at a time, and its gradient."""

import triton
import triton.language as tl

from graphkd.ops.triton.kernels.tiles import load_tile


@triton.jit
def _load_ids(ids, places, inside, count):
    """Node ids; ``count`` where there is no edge or no such node: its row loads as zeros.

    Under torch.compile, no earlier code has checked the ids.
    """
    found = tl.load(ids + places, mask=inside, other=-1)
    return tl.where((found >= 0) & (found < count), found, count)


@triton.jit
def forward(
    x_src,
    x_dst,
    src,
    dst,
    out,
    num_edges,
    num_src,
    num_dst,
    width,
    block_edges: tl.constexpr,
    block_width: tl.constexpr,
    dot: tl.constexpr,
):
    """The statistic of every edge; NaN if the edge names a node that does not exist."""
    edges = tl.program_id(0).to(tl.int64) * block_edges + tl.arange(0, block_edges)
    j = _load_ids(src, edges, edges < num_edges, num_src)
    i = _load_ids(dst, edges, edges < num_edges, num_dst)
    total = tl.zeros((block_edges, block_width), dtype=x_src.dtype.element_ty)
    for start in range(0, width, block_width):
        columns = (start + tl.arange(0, block_width))[None, :]
        a = load_tile(x_src, j[:, None], columns, num_src, width)
        b = load_tile(x_dst, i[:, None], columns, num_dst, width)
        if dot:
            total += a * b
        else:
            total += (a - b) * (a - b)
    known = (j < num_src) & (i < num_dst)
    statistic = tl.where(known, tl.sum(total, axis=1), float("nan"))
    tl.store(out + edges, statistic, mask=edges < num_edges)


@triton.jit
def backward(
    x,
    other,
    neighbours,
    order,
    pointer,
    grad,
    out,
    nodes,
    other_nodes,
    width,
    block_edges: tl.constexpr,
    block_width: tl.constexpr,
    ordered: tl.constexpr,
    dot: tl.constexpr,
):
    """out_i = Σ_e grad_e · other_e, or 2 Σ_e grad_e · (x_i − other_e), over the edges e of node i.

    These edges lie between two pointers: in place, or by ``order`` if sorted by their other end.
    """
    node = tl.program_id(0)
    row = (node + tl.arange(0, 1))[:, None]
    columns = (tl.program_id(1) * block_width + tl.arange(0, block_width))[None, :]
    own = load_tile(x, row, columns, nodes, width)
    total = tl.zeros((block_edges, block_width), dtype=x.dtype.element_ty)
    end = tl.load(pointer + node + 1)
    for start in range(tl.load(pointer + node), end, block_edges):
        places = start + tl.arange(0, block_edges)
        inside = places < end
        if not ordered:
            places = tl.load(order + places, mask=inside, other=0)
        neighbour = _load_ids(neighbours, places, inside, other_nodes)
        theirs = load_tile(other, neighbour[:, None], columns, other_nodes, width)
        weights = tl.load(grad + places, mask=inside, other=0.0)[:, None]
        if dot:
            total += weights * theirs
        else:
            total += 2 * weights * (own - theirs)
    gradient = tl.sum(total, axis=0)[None, :]
    tl.store(out + row.to(tl.int64) * width + columns, gradient, mask=columns < width)
