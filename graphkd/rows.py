"""Find the rows of a sampled batch that belong to given nodes."""

import torch
from torch import Tensor

from graphkd._checks import check_devices, describe
from graphkd._precision import traced

_INTEGERS = (torch.int32, torch.int64)


def rows_of(ids: Tensor, n_id: Tensor) -> Tensor:
    """The row number of each node in a sampled batch, for ``index=``.

    A loader need not put the seeds first. In a heterogeneous batch it does so only for the input
    type, and for clusters or GraphSAINT not at all. Node ids tell where the seeds are. With PyG's
    ``NeighborLoader``, ``n_id`` is ``batch.n_id``. The seeds' ids are ``batch.input_id`` if
    ``input_nodes`` is a mask or left out, and ``input_nodes[batch.input_id]`` if it is a tensor of
    ids.

    Args:
        ids: The nodes to find; all must be in the batch.
        n_id: The node of each row.

    Shapes:
        - **ids:** :math:`[M]`
        - **n_id:** :math:`[N]`
        - **output:** :math:`[M]`, with ``n_id[output] == ids``

    Raises:
        TypeError: If an argument is not an integer tensor.
        ValueError: If an argument is not one-dimensional, devices differ, or a node to find has no
            row or several rows in the batch.

    Example:
        >>> import torch, graphkd
        >>> graphkd.rows_of(torch.tensor([40, 7]), n_id=torch.tensor([3, 7, 9, 40]))
        tensor([3, 1])
    """
    for name, value in {"ids": ids, "n_id": n_id}.items():
        if not isinstance(value, Tensor) or value.dtype not in _INTEGERS:
            raise TypeError(
                f"rows_of: {name} must be an int64 tensor of node ids; got {describe(value)}. Of a "
                "mask, pass mask.nonzero().view(-1)."
            )
        if value.dim() != 1:
            raise ValueError(f"rows_of: {name} must be one-dimensional; got {describe(value)}.")
    check_devices("rows_of", n_id=n_id, ids=ids)
    ids = ids.long()
    if n_id.numel() == 0:
        _refuse(ids, "is not in the batch, which has no rows")
        return ids
    ordered, order = n_id.long().sort()
    last = n_id.numel() - 1
    place = torch.searchsorted(ordered, ids).clamp(max=last)
    if not traced():
        absent = ids[ordered[place] != ids]
        _refuse(absent, f"is not in the batch of {last + 1} rows. {_remedy(absent, ids, n_id)}")
        again = ordered[(place + 1).clamp(max=last)] == ids
        _refuse(
            ids[again & (place < last)],
            "has several rows, as in a disjoint batch. Its seeds are rows 0 to batch.batch_size",
        )
    return order[place]


def _remedy(absent: Tensor, ids: Tensor, n_id: Tensor) -> str:
    if absent.numel() and bool(torch.isin(n_id, ids).all()):
        return "All of its rows are among ids: pass ids first, rows_of(ids, n_id)"
    return (
        "If input_nodes is a tensor of ids, batch.input_id are places in it: pass "
        "input_nodes[batch.input_id]"
    )


def _refuse(ids: Tensor, why: str) -> None:
    if ids.numel():
        raise ValueError(f"rows_of: node {int(ids[0])} {why}.")
