"""The flow between two layers, graph by graph and in blocks of rows.

Replaces ``(a.T @ b / n - t_a.T @ t_b / n).square().mean()`` for each graph. The difference comes
from differences of rows, ``(a - t_a).T @ b + t_a.T @ (b - t_b)``. So it keeps its digits as the
student approaches the teacher. Memory holds one matrix of d₁ × d₂ at a time, which leaves its
graph's gradient.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from graphkd._precision import exact, full_precision
from graphkd.ops._autograd import empty_gradient, primitive
from graphkd.ops._blocks import slices

HEIGHT = 1024


def flow_gap(
    a: Tensor, b: Tensor, t_a: Tensor, t_b: Tensor, graph: Tensor | None, chunk_size: int | None
) -> Tensor:
    """Each graph's mean squared difference of the flows AᵀB / n of student and teacher.

    Args:
        a: The student's first layer.
        b: The student's second layer.
        t_a: The teacher's first layer, of the width of ``a``.
        t_b: The teacher's second layer, of the width of ``b``.
        graph: The number of each row's graph, below the number of rows; None means one graph.
        chunk_size: Rows per block.

    Returns:
        One value for each possible number of a graph; 0 if no graph has that number.
    """
    one = torch.zeros_like(a[:, 0], dtype=torch.long) if graph is None else graph
    counts = torch.zeros_like(one).index_add(0, one, torch.ones_like(one))
    if graph is not None:
        order = graph.argsort(stable=True)
        a, b, t_a, t_b = (x.index_select(0, order) for x in (a, b, t_a, t_b))
    return _flow_gap(a, b, t_a, t_b, counts, chunk_size or HEIGHT)


def _graphs(counts: Tensor) -> Iterator[slice]:
    """The rows of each graph."""
    start = 0
    for count in counts.tolist():
        if count == 0:
            return
        yield slice(start, start + count)
        start += count


def _apart(a: Tensor, b: Tensor, t_a: Tensor, t_b: Tensor, graph: slice, height: int) -> Tensor:
    """The difference of a graph's flows; in float64 if it takes several blocks."""

    def product(rows: slice) -> Tensor:
        x, y, t_x, t_y = (h[rows] for h in (a, b, t_a, t_b))
        return torch.addmm((x - t_x).T @ y, t_x.T, y - t_y)

    n = graph.stop - graph.start
    if n <= height:
        return product(graph).div_(n)
    total = exact(a.new_zeros(a.size(1), b.size(1)))
    for block in slices(n, height):
        total += product(slice(graph.start + block.start, graph.start + block.stop))
    return total.div_(n)


def _fake(
    a: Tensor,
    b: Tensor,
    t_a: Tensor,
    t_b: Tensor,
    counts: Tensor,
    height: int,
    need_a: bool,
    need_b: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    values = a.new_empty(counts.size(0))
    return values, empty_gradient(a, need_a), empty_gradient(b, need_b)


def _forward(
    a: Tensor,
    b: Tensor,
    t_a: Tensor,
    t_b: Tensor,
    counts: Tensor,
    height: int,
    need_a: bool,
    need_b: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The values, and each one's gradient for the rows of its graph."""
    values = a.new_zeros(counts.size(0))
    grad_a, grad_b = empty_gradient(a, need_a), empty_gradient(b, need_b)
    with full_precision(a.device):
        for number, graph in enumerate(_graphs(counts)):
            apart = _apart(a, b, t_a, t_b, graph, height)
            values[number] = apart.square().mean()
            pull = apart.mul_(2 / (apart.numel() * (graph.stop - graph.start))).to(a.dtype)
            if need_a:
                grad_a[graph] = b[graph] @ pull.T
            if need_b:
                grad_b[graph] = a[graph] @ pull
    return values, grad_a, grad_b


def _backward(
    grad: Tensor,
    grad_a: Tensor,
    grad_b: Tensor,
    a: Tensor,
    b: Tensor,
    t_a: Tensor,
    t_b: Tensor,
    counts: Tensor,
    height: int,
    need_a: bool,
    need_b: bool,
) -> tuple[Tensor, Tensor]:
    weights = grad.repeat_interleave(counts, output_size=a.size(0)).unsqueeze(1)
    return (
        grad_a * weights if need_a else a.new_empty(0),
        grad_b * weights if need_b else b.new_empty(0),
    )


_flow_gap = primitive("flow_gap", _forward, _backward, backend="chunked", fake=_fake, keeps=2)
