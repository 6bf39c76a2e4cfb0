"""Choose the rows of a batch that are kept, and find their ids."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
)

from graphkd._checks import describe
from graphkd._store.teacher import WHERE
from graphkd.rows import rows_of

Ids = str | Callable[[Any], Tensor] | None


class Selection(NamedTuple):
    """Row ``chosen[k]`` of the ``total`` rows of a batch belongs to ``ids[k]``."""

    ids: Tensor
    chosen: Tensor
    total: int

    def fits(self, output: Tensor) -> bool:
        """Whether the output has one row per row of the batch, or one per kept row."""
        return output.size(0) in (self.total, len(self.ids))

    def check(self, name: str, output: Tensor) -> None:
        """Raise unless the output fits."""
        if self.fits(output):
            return
        raise ValueError(
            f"{WHERE}: {name} has {output.size(0)} rows in a batch of {self.total} rows, of "
            f"which {len(self.ids)} are to be kept. Tap a layer with one row per id, or pass "
            "forward= that returns such rows."
        )

    def of(self, output: Tensor, some: Tensor) -> Tensor:
        """The rows of an output that belong to ``ids[some]``."""
        at = self.chosen[some] if output.size(0) == self.total else some
        return output.index_select(0, at.to(output.device))


class Batches:
    """The batches of a graph, of a loader or of any iterable, and the ids of their rows."""

    def __init__(self, source: Any, ids: Ids, node_type: str | None, num_nodes: int | None) -> None:
        from torch_geometric.data import Data, HeteroData

        if isinstance(source, Dataset):
            raise TypeError(
                f"{WHERE} takes a graph or a loader; got a {type(source).__name__}. Wrap it: "
                "DataLoader(dataset, batch_size=64)."
            )
        self.source, self.ids = source, ids
        self.single = isinstance(source, (Data, HeteroData))
        if hasattr(source, "edge_label_index") and not self.single:
            raise TypeError(
                f"{WHERE}: the batches of a {type(source).__name__} have no seed nodes. Use a "
                "NeighborLoader."
            )
        self._input = getattr(source, "input_data", None)
        self.node_type = node_type or getattr(self._input, "input_type", None)
        graph = source if self.single else getattr(source, "data", None)
        self.graph = graph if isinstance(graph, (Data, HeteroData)) else None
        dataset = getattr(source, "dataset", None)
        graphs = isinstance(source, DataLoader) and _holds_graphs(dataset)
        self.origin = dataset if self.graph is None and graphs else self.graph
        """The source of the batches: a graph, a data set of graphs, or None if unknown."""
        self.num_nodes = num_nodes
        self.counted: str | None = None
        """If no batch names its rows, what is counted: "nodes" or "graphs"."""
        self._next = 0

    def __iter__(self) -> Any:
        return iter([self.source] if self.single else self.source)

    def store(self, batch: Any) -> Any:
        """The holder of the rows' attributes: the batch, or its part for the input's node type."""
        if isinstance(batch, (Tensor, list, tuple)):
            raise TypeError(
                f"{WHERE}: a batch must be a Data or HeteroData; got {describe(batch)}. Pass "
                "Data(x=x, edge_index=edge_index), a loader of such graphs, or ids=, a function of "
                "a batch of your own."
            )
        if not hasattr(batch, "node_types"):
            return batch
        if self.node_type is None:
            seeds = [t for t in batch.node_types if "batch_size" in batch[t]]
            if len(seeds) != 1:
                raise ValueError(
                    f"{WHERE}: whose rows are kept? The batch has the node types "
                    f"{', '.join(map(repr, batch.node_types))}. Pass node_type=."
                )
            self.node_type = seeds[0]
        if self.node_type not in batch.node_types:
            raise ValueError(
                f"{WHERE}: node_type must be one of {', '.join(map(repr, batch.node_types))}; "
                f"got {self.node_type!r}."
            )
        return batch[self.node_type]

    def of_another_type(self, batch: Any, rows: int, fits: bool) -> bool:
        """Whether so many logits are those of another node type, if they came without a type.

        In a sampled batch, counts agree by chance: what fits this type is taken for its own.
        """
        others = [
            kind
            for kind in batch.node_types
            if kind != self.node_type
            and rows in (batch[kind].num_nodes, batch[kind].get("batch_size"))
        ]
        if not (fits and others and self.single and self.node_type is not None):
            return bool(others) and not fits
        here, there = "y" in batch[self.node_type], any("y" in batch[kind] for kind in others)
        if here == there:
            raise ValueError(
                f"{WHERE}: the teacher's logits have {rows} rows, as many as there are nodes of "
                f"the types {', '.join(map(repr, [self.node_type, *others]))}. Pass forward=, "
                "which returns them in a dict by node type."
            )
        return there

    def total_rows(self) -> int | None:
        """N, if it is known before the end."""
        if self.num_nodes is not None:
            return self.num_nodes
        if self.counted == "graphs":
            dataset: Any = getattr(self.source, "dataset", None)
            return len(dataset) if isinstance(self.source, DataLoader) else None
        if self.graph is None or callable(self.ids):
            return None
        store = self.store(self.graph)
        # If the graph itself names its nodes, these ids may be larger than their number.
        return None if (self.ids or "n_id") in store else int(store.num_nodes)

    def select(self, batch: Any, output_rows: int | None) -> Selection | None:
        """The rows to keep. None if only the output can tell: call again with its row count."""
        if callable(self.ids):
            ids = _checked(self.ids(batch), "ids= returned")
            return Selection(ids, torch.arange(len(ids), device="cpu"), len(ids))
        store = self.store(batch)
        name = self.ids or "n_id"
        if name not in store:
            return self._count(batch, store, output_rows)
        ids = _checked(store[name], f"batch.{name} is")
        if "root_n_id" in store:  # from a ShaDowKHopSampler
            chosen = store.root_n_id.cpu()
        elif "batch_size" in store:
            chosen = self._seeds(store, int(store.batch_size))
        else:
            chosen = torch.arange(len(ids), device="cpu")
        return Selection(ids[chosen], chosen, len(ids))

    def _seeds(self, store: Any, count: int) -> Tensor:
        """The seeds' row numbers, by their ids: PyG puts them first, but a transform may not."""
        first = torch.arange(count, device="cpu")
        if "n_id" not in store or "input_id" not in store:
            return first
        nodes, given = getattr(self._input, "node", None), getattr(self._input, "input_id", None)
        places = store.input_id.cpu()
        if nodes is None:
            return first
        if given is None:  # input_id numbers the loader's input_nodes
            seeds = nodes.cpu()[places]
        elif torch.equal(given, nodes):  # from a mask: input_id is the node's id
            seeds = places
        else:
            return first
        if self.graph is not None and "n_id" in self.store(self.graph):
            seeds = self.store(self.graph).n_id.cpu()[seeds]
        n_id = store.n_id.cpu()
        return first if torch.equal(n_id[:count], seeds) else rows_of(seeds, n_id)

    def _count(self, batch: Any, store: Any, output_rows: int | None) -> Selection | None:
        if self.ids is not None:
            raise ValueError(f"{WHERE}: the batch has no attribute {self.ids!r}, passed as ids=.")
        # A ShaDowKHopSampler's parts are no graphs of a data set, and their nodes overlap.
        parts = "root_n_id" in store
        graphs = getattr(batch, "num_graphs", None) if "ptr" in store and not parts else None
        if not self.single:
            self._check_order(graphs is not None)
        nodes = int(store.num_nodes)
        if self.counted is None:
            if graphs is None:
                self.counted = "nodes"
            elif output_rows is None:
                return None
            else:
                self.counted = "graphs" if output_rows == graphs else "nodes"
        size = nodes if self.counted == "nodes" or graphs is None else int(graphs)
        ids = torch.arange(self._next, self._next + size, device="cpu")
        self._next += size
        return Selection(ids, torch.arange(size, device="cpu"), size)

    def _check_order(self, batched: bool) -> None:
        """Raise unless the rows surely come in the order of the data set, to be counted."""
        source = self.source
        ordered = isinstance(source, (list, tuple))
        if isinstance(source, DataLoader):
            # With a batch_sampler, source.sampler is a sequential one that nothing uses.
            batched_by: Any = source.batch_sampler or source
            plain = batched_by is source or type(batched_by) is BatchSampler
            ordered = plain and type(batched_by.sampler) is SequentialSampler
            ordered = ordered and getattr(source, "in_order", True)
        if ordered and batched:
            return
        what, give = "no n_id", "the graph data.n_id = torch.arange(data.num_nodes)"
        if batched:
            what = "no n_id, and come in another order than that of the data set"
            give = "each graph data.n_id = torch.tensor([i])"
        raise ValueError(
            f"{WHERE}: whose rows are these? The batches have {what}. Give {give} before the "
            "loader is made, or pass ids=: the name of such an attribute, or a function of the "
            "batch."
        )


def _holds_graphs(dataset: Any) -> bool:
    if isinstance(dataset, IterableDataset) or not isinstance(dataset, (Dataset, list, tuple)):
        return False
    items: Any = dataset
    return len(items) == 0 or hasattr(items[0], "node_stores")


def _checked(ids: Any, what: str) -> Tensor:
    if not isinstance(ids, Tensor) or ids.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"{WHERE}: ids must be an int64 or int32 tensor; {what} {describe(ids)}.")
    if ids.dim() != 1:
        raise ValueError(f"{WHERE}: ids must be one-dimensional; {what} {describe(ids)}.")
    numbers = ids.long().cpu()
    if len(ids) and int(ids.min()) < 0:
        raise IndexError(f"{WHERE}: ids must not be negative; {what} {int(ids.min())}.")
    return numbers
