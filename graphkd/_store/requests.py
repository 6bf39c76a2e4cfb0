"""Find the rows that are asked for, and check that the store is the right one."""

from numbers import Integral
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from graphkd._checks import describe
from graphkd._store.fingerprints import graph_fingerprint

_WHERE = "TeacherStore: n_id"


def requested_ids(n_id: Any, num_nodes: int, filled: Tensor | None) -> Tensor:
    """The ids of an integer tensor, mask, int or slice: int64, on the CPU, all in the store."""
    if isinstance(n_id, slice):
        chosen = range(*n_id.indices(num_nodes))
        ids = torch.arange(len(chosen), device="cpu") * chosen.step + chosen.start
    elif not isinstance(n_id, bool) and isinstance(n_id, Integral):
        n_id = int(n_id)  # of NumPy
        if not 0 <= n_id < num_nodes:  # an int may be larger than a tensor can hold
            raise _outside(n_id, num_nodes)
        ids = torch.tensor([n_id], device="cpu")
    elif not isinstance(n_id, Tensor):
        raise TypeError(
            f"{_WHERE} must be an integer tensor, a mask, an int or a slice; got "
            f"{describe(n_id)}. Convert it with torch.as_tensor."
        )
    elif n_id.dtype not in (torch.int64, torch.int32, torch.bool):
        raise TypeError(
            f"{_WHERE} must be int64, int32 or bool; got {describe(n_id)}. Call .bool() on a mask, "
            ".long() on ids."
        )
    elif n_id.dim() != 1:
        raise ValueError(
            f"{_WHERE} must be one-dimensional; got {describe(n_id)}. Call n_id.view(-1)."
        )
    elif n_id.dtype == torch.bool:
        if len(n_id) != num_nodes:
            raise IndexError(
                f"{_WHERE}: a mask must have one entry for each of the {num_nodes} rows; got "
                f"{describe(n_id)}. Use the mask of the graph that the store was built from."
            )
        ids = n_id.nonzero()[:, 0].cpu()
    else:
        ids = n_id.long().cpu()
    outside = (ids < 0) | (ids >= num_nodes)
    if outside.any():
        raise _outside(int(ids[outside][0]), num_nodes)
    if isinstance(n_id, Tensor) and len(n_id) == len(ids) == num_nodes > 2 and ids.max() < 2:
        raise ValueError(
            f"{_WHERE} must be ids or a boolean mask; got {describe(n_id)} that are all 0 or 1, "
            f"for {num_nodes} rows: a mask as integers. Call .bool() on it."
        )
    if filled is not None and not filled[ids].all():
        raise IndexError(
            f"{_WHERE} holds {int(ids[~filled[ids]][0])}, which no batch of the build delivered. "
            "Build the store from a loader that reaches it."
        )
    return ids


def _outside(n_id: int, num_nodes: int) -> IndexError:
    return IndexError(
        f"{_WHERE} holds {n_id}, and the store has {num_nodes} rows, numbered from 0. Pass ids of "
        "the graph that it was built from, e.g. batch.n_id."
    )


def check_graph(path: Any, manifest: dict[str, Any], data: Any, num_nodes: int | None) -> None:
    """Raise a ValueError if the store was built from another graph."""
    other = f"TeacherStore: {path} is a store for another graph:"
    if num_nodes is not None and num_nodes != manifest["num_nodes"]:
        raise ValueError(f"{other} it has {manifest['num_nodes']} rows, not {num_nodes}.")
    if data is None:
        return
    if not hasattr(data, "node_stores") and not isinstance(data, (Dataset, list, tuple)):
        raise TypeError(
            "TeacherStore.open: data must be a Data, a HeteroData, or a data set of graphs; got "
            f"{describe(data)}. Pass what the store was built from, or num_nodes=."
        )
    made, given = manifest["recipe"]["graph"], graph_fingerprint(data)
    if made is None:  # built from bare batches: nothing else is known
        key = f"nodes {manifest['node_type'] or ''}".strip()
        made, given = {key: manifest["num_nodes"]}, {key: given.get(key)}
    # One graph may hold an edge weight inside adj_t, the other beside edge_index.
    alone = {name for name in made.keys() ^ given.keys() if "attribute" in name.split()}
    made, given = ({k: v for k, v in f.items() if k not in alone} for f in (made, given))
    changed = differences(made, given)
    if changed:
        raise ValueError(
            f"{other} its {changed} differ from those of data. Pass the graph that the store was "
            "built from, as it was then, or build a store for this one."
        )


def is_known(recipe: dict[str, Any]) -> bool:
    """Whether a recipe identifies its graph; the recipe of a bare iterator does not."""
    return recipe["graph"] is not None or recipe["list of batches"] is not None


def check_same(path: Any, made: dict[str, Any], given: dict[str, Any]) -> None:
    """Raise a ValueError unless this recipe would surely make the finished store."""
    changed = differences(made, given)
    if not changed and is_known(given):
        return
    why = f"was built with another {changed}" if changed else "may be of other data"
    raise ValueError(
        f"TeacherStore.build: {path} holds a store that {why}. Pass overwrite=True to replace it, "
        "open it with TeacherStore.open, or choose another path."
    )


def differences(made: dict[str, Any], given: dict[str, Any]) -> str:
    """The names of the entries that differ, as text."""
    names = dict.fromkeys([*made, *given])
    return ", ".join(name for name in names if made.get(name) != given.get(name))
