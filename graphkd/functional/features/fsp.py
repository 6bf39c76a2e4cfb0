"""The flow from one layer to another: FSP matrices."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from graphkd._checks import check_pair, check_row_ids, describe
from graphkd._precision import full_precision
from graphkd.functional._options import check_blocked_options
from graphkd.functional._rows import count_groups, group_numbers, matched_rows, refuse_weight
from graphkd.ops.primitives import flow_gap


def fsp_loss(
    h_s: Sequence[Tensor],
    h_t: Sequence[Tensor],
    batch: Tensor | None = None,
    *,
    weight: Tensor | None = None,
    backend: str = "auto",
    chunk_size: int | None = None,
) -> Tensor:
    r"""Mean squared difference of the flows between two layers.

    Replaces ``F.mse_loss(h_s[0].T @ h_s[1] / n, h_t[0].T @ h_t[1] / n)`` for each graph.

    .. math::
        L = \frac1{|G|} \sum_g \frac1{d_1 d_2}
            \left\lVert \frac1{n_g} \sum_{i \in g} \left(
            a^s_i (b^s_i)^\top - a^t_i (b^t_i)^\top \right) \right\rVert_F^2

    with the rows :math:`a_i` of the first layer, :math:`b_i` of the second, and the
    :math:`n_g` nodes of graph g. The first layers of student and teacher must have one width, and
    so must the second layers.

    Args:
        h_s: The student's embeddings in the first and the second layer.
        h_t: The teacher's embeddings in the corresponding layers; they get no gradient.
        batch: The graph of each node, as in a PyG mini-batch; any integer ids, in any order.
            Default: all nodes are one graph.
        weight: Refused: a flow belongs to a graph, and no value to a node.
        backend: ``"auto"``, ``"reference"`` or ``"chunked"``.
        chunk_size: Rows per block of the chunked backend; changes memory, not the value.

    Shapes:
        - **h_s:** :math:`([N, d_1], [N, d_2])`
        - **h_t:** :math:`([N, d_1], [N, d_2])`
        - **batch:** :math:`[N]`
        - **output:** scalar

    Raises:
        ValueError: If row counts, widths or devices differ, there are not two layers, an input is
            not two-dimensional, ``batch`` does not have one entry per row, ``weight`` is given, or
            an option is out of range.
        TypeError: If an input is not a pair of floating-point tensors, or ``batch`` not an integer
            one.

    Source: Yim, Joo, Bae and Kim, CVPR 2017, for one pair of layers, with nodes instead of
    positions and graphs instead of images. The value equals that of the released re-implementation.
    The paper sums over the entries of the matrices, which gives d₁ d₂ times as much.

    Example:
        >>> import torch
        >>> from graphkd.functional import fsp_loss
        >>> first, second = torch.tensor([[1.0], [1.0]]), torch.tensor([[2.0], [4.0]])
        >>> fsp_loss((first, second), (first, 2 * second))    # flows of 3 and 6
        tensor(9.)
    """
    loss = "fsp_loss"
    check_blocked_options(loss, backend=backend, chunk_size=chunk_size)
    refuse_weight(loss, weight, "graph")
    (a, t_a), (b, t_b) = _read(loss, h_s, h_t)
    if batch is not None:
        remedy = "Pass data.batch of the same nodes."
        check_row_ids(loss, "batch", batch, a, "graph ids", remedy)
    with full_precision(a.device):
        graph = None if batch is None else group_numbers(batch)
        values = flow_gap(loss, (a, b), (t_a, t_b), graph, backend, chunk_size)
        return values.sum() / (1 if graph is None else count_groups(graph))


def _read(loss: str, h_s: Any, h_t: Any) -> list[tuple[Tensor, Tensor]]:
    """Checked, upcast student and teacher of the first and of the second layer."""
    for name, h in {"h_s": h_s, "h_t": h_t}.items():
        if not isinstance(h, (list, tuple)):
            raise TypeError(
                f"{loss}: {name} must be tensors (first layer, second layer); got {describe(h)}. "
                "Pass the embeddings of two layers."
            )
        if len(h) != 2:
            raise ValueError(
                f"{loss}: {name} must hold two layers; got {len(h)}. Call the loss once for each "
                "pair of layers."
            )
    layers = []
    for place, (s, t) in enumerate(zip(h_s, h_t, strict=True)):
        names = f"h_s[{place}]", f"h_t[{place}]"
        remedy = (
            "Project the student's layer by a torch.nn.Linear that learns with the student, or "
            "choose layers of one width."
        )
        layers.append(matched_rows(loss, s, t, names=names, projecting=remedy)[:2])
    (a, t_a), (b, t_b) = layers
    check_pair(loss, a, b, names=("h_s[0]", "h_s[1]"))
    dtype = torch.promote_types(a.dtype, b.dtype)
    return [(a.to(dtype), t_a.to(dtype)), (b.to(dtype), t_b.to(dtype))]
