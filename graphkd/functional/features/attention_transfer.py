"""How strongly each node is activated: attention transfer.

The formula in its plain form is ``attention_gap`` in ``ops/reference/attention_gap.py``.
"""

from torch import Tensor

from graphkd._checks import check_row_ids
from graphkd._precision import followed, full_precision
from graphkd.functional._options import check_reduction
from graphkd.functional._rows import (
    group_numbers,
    matched_rows,
    reduce_rows,
    row_weights,
    select_rows,
)
from graphkd.ops.row_primitives import attention_gap


def attention_transfer_loss(
    h_s: Tensor,
    h_t: Tensor,
    batch: Tensor | None = None,
    *,
    weight: Tensor | None = None,
    index: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Mean squared difference of the nodes' normalised attention.

    .. math::
        a_i = \sum_k h_{ik}^2, \qquad
        L = \frac1N \sum_i \left(\frac{a^s_i}{\lVert a^s_{g(i)}\rVert_2}
                               - \frac{a^t_i}{\lVert a^t_{g(i)}\rVert_2}\right)^2

    The vector :math:`a_{g}` holds the nodes of one graph g. For a single graph, the value falls as
    1/N, as in the released code: a weight tuned at one number of nodes does not fit another. With
    ``reduction="sum"`` it does not fall. The widths may differ.

    Args:
        h_s: Student embeddings.
        h_t: Teacher embeddings; they get no gradient.
        batch: The graph of each node, as in a PyG mini-batch; any integer ids, in any order.
            Default: all nodes are one graph.
        weight: A weight for each row, not negative, before ``index``; attention is normalised
            before it is weighted. The mean divides by the weights' sum. It gets a gradient if it
            requires one.
        index: Boolean mask or row numbers; rows are selected before normalisation.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each node's squared difference).

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **batch:** :math:`[N]`
        - **weight:** :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If row counts or devices differ, an input is not two-dimensional, ``batch`` does
            not have one entry per row, ``weight`` is negative, or an option is out of range.
        TypeError: If an input is not a floating-point tensor, or ``batch`` not an integer one.
        IndexError: If ``index`` names a row that does not exist.

    Source: Zagoruyko and Komodakis, 2017, arXiv 1612.03928, with nodes instead of pixels, as in
    Joshi et al., 2022. For one graph, the value equals theirs.

    Example:
        >>> import torch
        >>> from graphkd.functional import attention_transfer_loss
        >>> h_s, h_t = torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0, 3.0], [4.0, 0.0]])
        >>> attention_transfer_loss(h_s, h_t)    # [1, 0] against [9, 16] / 18.36
        tensor(0.5097)
    """
    loss = "attention_transfer_loss"
    check_reduction(loss, reduction)
    s, t, chosen = matched_rows(loss, h_s, h_t, index)
    weight = row_weights(loss, weight, h_s, chosen)
    if batch is not None:
        remedy = "Pass data.batch of the same nodes."
        check_row_ids(loss, "batch", batch, h_s, "graph ids", remedy)
    with full_precision(s.device):
        graph = None if batch is None else _numbers(select_rows(loss, batch, chosen))
        return reduce_rows(attention_gap(s, t, graph), reduction, weight)


def _numbers(ids: Tensor) -> Tensor:
    """Graph ids below the number of rows: as they are if they do, because gaps do not matter."""
    if ids.device.type == "cpu" and ids.numel() and not followed():
        least, most = ids.aminmax()
        if least.item() >= 0 and most.item() < ids.numel():
            return ids.long()
    return group_numbers(ids)
