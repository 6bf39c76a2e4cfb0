"""Graphs: every accepted format becomes one sorted edge list.

Rows are centres and columns neighbours, as in the ``adj_t`` that a PyG convolution takes:
``edge_index[0]`` is the neighbour j, ``edge_index[1]`` the centre i.
"""

import threading
import weakref
from collections import OrderedDict
from typing import Any, NamedTuple

import torch
from torch import Tensor

from graphkd._checks import check_count, check_weight, describe, memory_of
from graphkd._graph_formats import is_edge_index, source_target
from graphkd._precision import traced, upcast

_CACHE_SIZE = 8


class Edges(NamedTuple):
    """An edge list sorted by centre, with the edges of each centre and of each source.

    Edge k runs from node ``src[k]`` to its centre ``dst[k]``.
    """

    src: Tensor
    dst: Tensor
    num_src: int
    num_dst: int
    ptr: Tensor
    """The edges into centre i have the numbers ``ptr[i]`` to ``ptr[i + 1] - 1``."""
    order: Tensor
    """The numbers of the edges, sorted by source."""
    src_ptr: Tensor
    """The edges out of node j are ``order[src_ptr[j]]`` to ``order[src_ptr[j + 1] - 1]``."""
    weight: Tensor | None = None
    """The weight of each edge, in the order of ``src``; None stands for ones."""

    def only(self, active: Tensor) -> "Edges":
        """The marked edges, in the same order."""
        before = _pointer(active)
        by_source = active.index_select(0, self.order)
        return self._replace(
            src=self.src[active],
            dst=self.dst[active],
            ptr=before.index_select(0, self.ptr),
            order=before.index_select(0, self.order[by_source]),
            src_ptr=_pointer(by_source).index_select(0, self.src_ptr),
            weight=None if self.weight is None else self.weight[active],
        )

    def weighted(self, weight: Tensor | None) -> "Edges":
        """The same edges with other weights."""
        # Written out: torch 2.6 does not compile _replace.
        ends = self.src, self.dst, self.num_src, self.num_dst
        return Edges(*ends, self.ptr, self.order, self.src_ptr, weight)


def sort_edges(
    src: Tensor, dst: Tensor, num_src: int, num_dst: int, weight: Tensor | None = None
) -> Edges:
    """Sort edges, and their weights with them, by centre."""
    dst, order = dst.long().sort(stable=True)
    if weight is not None:
        weight = weight.index_select(0, order)
    src = src.long().index_select(0, order)
    by_source, order = src.sort(stable=True)
    ptr, src_ptr = (
        torch.searchsorted(ends, torch.arange(count + 1, device=ends.device))
        for ends, count in ((dst, num_dst), (by_source, num_src))
    )
    return Edges(src, dst, num_src, num_dst, ptr, order, src_ptr, weight)


def largest_weight(weight: Tensor, least: float = 0.0) -> Tensor:
    """The largest weight, at least ``least``, without a gradient; 1 instead of 0.

    What depends on ratios of weights only divides by it, so that huge or tiny weights are harmless.
    """
    most = torch.cat([weight.detach(), weight.new_full((1,), least)]).amax()
    return most.masked_fill(most == 0, 1)


def _pointer(counts: Tensor) -> Tensor:
    """0, followed by the running sums of the counts."""
    return torch.cat([counts.new_zeros(1, dtype=torch.long), counts.cumsum(0)])


class Graph:
    r"""An immutable, checked graph, sorted by centre, for reuse over training steps.

    A loss accepts it instead of ``edge_index``, and then neither checks nor sorts again. Duplicate
    edges and self loops are kept: each occurrence counts.

    Args:
        edge_index: A :math:`[2, E]` tensor (int32 or int64) in PyG's source-to-target
            convention, a PyG ``EdgeIndex``, or the transposed adjacency ``adj_t``
            :math:`[N_{dst}, N_{src}]` as a ``torch.sparse`` COO, CSR or CSC tensor or a
            ``torch_sparse.SparseTensor``. Stored values are ignored.
        num_nodes: The number of nodes, or ``(num_sources, num_targets)`` of a bipartite graph.
        edge_weight: A weight for each edge, not negative, in the order of an ``edge_index`` tensor;
            0 stands for no edge. The losses that take ``edge_weight`` use it. All else that takes
            a graph, such as heads and random walks, sees the edges only.

    Shapes:
        - **edge_index:** :math:`[2, E]`
        - **edge_weight:** :math:`[E]`

    Raises:
        TypeError: If the format or dtype is not one of these.
        ValueError: If the shape is wrong, ``adj_t`` does not fit ``num_nodes``, a number for each
            of so many nodes does not fit into memory, or ``edge_weight`` is negative, requires a
            gradient, or comes with a sparse ``adj_t``.
        IndexError: If an edge names a node that does not exist.

    Example:
        >>> import torch, graphkd
        >>> graph = graphkd.Graph(torch.tensor([[1, 0, 2], [0, 1, 0]]), num_nodes=3)
        >>> graph
        Graph(num_nodes=3, num_edges=3)
        >>> graph.edge_index
        tensor([[1, 2, 0],
                [0, 0, 1]])
        >>> edge_index, weight = torch.tensor([[1, 0, 2], [0, 1, 0]]), torch.tensor([0.5, 1.0, 2.0])
        >>> graphkd.Graph(edge_index, 3, edge_weight=weight).edge_weight
        tensor([0.5000, 2.0000, 1.0000])
    """

    edges: Edges
    """The edges in the form that the losses compute with."""

    def __init__(
        self,
        edge_index: Any,
        num_nodes: int | tuple[int, int],
        *,
        edge_weight: Tensor | None = None,
    ) -> None:
        num_src, num_dst = _node_counts(num_nodes)
        # A graph built (or cached) during evaluation must also work in training.
        with torch.inference_mode(False):
            src, dst = source_target(edge_index, num_src, num_dst)
            _check_range("source", src, num_src)
            _check_range("target", dst, num_dst)
            _check_counts(src, dst, num_src, num_dst)
            weight = _edge_weights("Graph", edge_weight, edge_index, src)
            if weight is not None and weight.requires_grad:
                raise ValueError(
                    "Graph: edge_weight must not require a gradient, because a graph for reuse "
                    f"keeps its weights; got {describe(edge_weight)} that does. Pass it to the "
                    "loss with the edge_index tensor, or call .detach() on it."
                )
            vars(self).update(edges=sort_edges(src, dst, num_src, num_dst, weight))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"Graph is immutable; cannot set {name!r}. Build a new Graph.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"Graph is immutable; cannot delete {name!r}.")

    def __repr__(self) -> str:
        nodes: Any = self.num_src if self.num_src == self.num_dst else (self.num_src, self.num_dst)
        weighted = "" if self.edges.weight is None else ", weighted"
        return f"{type(self).__name__}(num_nodes={nodes}, num_edges={self.num_edges}{weighted})"

    @property
    def num_src(self) -> int:
        """The number of nodes that edges start from."""
        return self.edges.num_src

    @property
    def num_dst(self) -> int:
        """The number of nodes that edges end at."""
        return self.edges.num_dst

    @property
    def num_edges(self) -> int:
        """The number of edges, counted with multiplicity."""
        return self.edges.src.numel()

    @property
    def edge_index(self) -> Tensor:
        """The edges as a sorted int64 :math:`[2, E]` tensor."""
        return torch.stack([self.edges.src, self.edges.dst])

    @property
    def edge_weight(self) -> Tensor | None:
        """A copy of the weights in the order of :attr:`edge_index`, if there are any."""
        return None if self.edges.weight is None else self.edges.weight.clone()

    def to(self, device: torch.device | str) -> "Graph":
        """The same graph on another device."""
        moved = object.__new__(Graph)
        edges: Any = (x.to(device) if isinstance(x, Tensor) else x for x in self.edges)
        vars(moved).update(edges=Edges(*edges))
        return moved


def resolve_edges(
    loss: str,
    graph: Any,
    num_src: int,
    num_dst: int,
    device: torch.device,
    edge_weight: Tensor | None = None,
) -> Edges:
    """The edges of any accepted graph format, checked against the embeddings' row counts.

    ``edge_weight`` is the user's. Without it, edges have weights if a Graph holds them.
    """
    if isinstance(graph, Tensor) and graph.device != device:
        raise ValueError(
            f"{loss}: embeddings and edge_index must be on the same device; got {device} and "
            f"{graph.device}. Move one with .to(...)."
        )
    if graph is None:
        raise TypeError(f"{loss} needs a graph; got None. Pass edge_index.")
    if isinstance(graph, Graph):
        if (graph.num_src, graph.num_dst) != (num_src, num_dst):
            raise ValueError(
                f"{loss}: the graph has {graph.num_src} source and {graph.num_dst} target nodes; "
                f"the embeddings have {num_src} and {num_dst} rows. Build the Graph with the "
                "number of rows."
            )
        _edge_weights(loss, edge_weight, graph, graph.edges.src)
        edges = graph.edges
    elif traced():
        if any(isinstance(count, Tensor) for count in (num_src, num_dst)):
            raise TypeError(
                f"{loss}: torch.jit.trace hands over no number of nodes. Pass Graph(edge_index, "
                "num_nodes=N), made before the trace."
            )
        # Values cannot be read; the operators check them when they run.
        src, dst = source_target(graph, num_src, num_dst)
        weight = _edge_weights(loss, edge_weight, graph, src)
        edges = sort_edges(src, dst, num_src, num_dst, weight)
    else:
        sorted_graph = _cached_graph(graph, num_src, num_dst)
        edges = sorted_graph.edges
        weight = _edge_weights(loss, edge_weight, graph, edges.src)
        if weight is not None:
            edges = edges.weighted(weight.index_select(0, _places(sorted_graph, graph)))
    if edges.src.device != device:
        raise ValueError(
            f"{loss}: embeddings and edge_index must be on the same device; got {device} and "
            f"{edges.src.device}. Move one with .to(...)."
        )
    return edges


def _edge_weights(
    loss: str, edge_weight: Tensor | None, graph: Any, edges: Tensor
) -> Tensor | None:
    """The user's weights, one for each of ``edges``, in float32 or wider; None stands for ones."""
    if edge_weight is None:
        return None
    held = isinstance(graph, Graph)
    if held or not isinstance(graph, Tensor) or graph.layout != torch.strided:
        sparse = "edge_index, edge_weight = torch_geometric.utils.to_edge_index(adj_t.t())"
        remedy = (
            "Build it with Graph(edge_index, num_nodes, edge_weight=...)."
            if held
            else f"Stored values are ignored: pass {sparse}."
        )
        raise ValueError(
            f"{loss}: edge_weight is in the order of an edge_index tensor; got it with "
            f"{'a Graph' if held else 'a sparse adj_t'}, whose edges have their own order. {remedy}"
        )
    check_weight(loss, "edge_weight", edge_weight, edges, "edge")
    return upcast(edge_weight)


def _places(graph: Graph, edge_index: Tensor) -> Tensor:
    """For each sorted edge, its number in ``edge_index``; kept with the graph after the first use.

    Most graphs have no weights, and need no memory for it.
    """
    known = vars(graph)
    if "places" not in known:
        with torch.inference_mode(False):
            _, dst = source_target(edge_index, graph.num_src, graph.num_dst)
            known["places"] = dst.long().sort(stable=True).indices
    places: Tensor = known["places"]
    return places


class _Entry(NamedTuple):
    tensor: "weakref.ref[Tensor]"
    version: tuple[int, ...]
    shape: tuple[int, ...]
    graph: Graph


_cache: OrderedDict[tuple[int, int, int], _Entry] = OrderedDict()
_cache_lock = threading.Lock()


def _cached_graph(edge_index: Any, num_src: int, num_dst: int) -> Graph:
    """Build a Graph, or reuse the one built before from the same tensor if it is unchanged.

    The key is the tensor's identity. Torch's version counter, which in-place operations advance,
    tells whether it changed. Tensors without a counter (from inference mode) are not cached.
    """
    nodes = (num_src, num_dst)
    if (
        not isinstance(edge_index, Tensor)
        or edge_index.layout != torch.strided
        or edge_index.is_inference()
    ):
        return Graph(edge_index, nodes)
    key = (id(edge_index), *nodes)
    with _cache_lock:
        entry = _cache.get(key)
        if (
            entry is not None
            and entry.tensor() is edge_index
            and entry.version == _version(edge_index)
            and entry.shape == tuple(edge_index.shape)
        ):
            _cache.move_to_end(key)
            return entry.graph
    graph = Graph(edge_index, nodes)
    forget = weakref.ref(edge_index, lambda _: _cache.pop(key, None))
    with _cache_lock:
        _cache[key] = _Entry(forget, _version(edge_index), tuple(edge_index.shape), graph)
        while len(_cache) > _CACHE_SIZE:
            _cache.popitem(last=False)
    return graph


def _version(edge_index: Tensor) -> tuple[int, ...]:
    """Torch's counters of in-place changes; an EdgeIndex and the tensor inside have one each."""
    if is_edge_index(edge_index):
        return edge_index._version, edge_index.as_tensor()._version  # type: ignore[attr-defined]
    return (edge_index._version,)


def _node_counts(num_nodes: Any) -> tuple[int, int]:
    counts = num_nodes if isinstance(num_nodes, tuple) else (num_nodes, num_nodes)
    if len(counts) != 2:
        raise ValueError(
            f"num_nodes must be a number or (num_sources, num_targets); got {num_nodes!r}."
        )
    for count in counts:
        check_count("num_nodes", count, least=0)
    return int(counts[0]), int(counts[1])


def _check_counts(src: Tensor, dst: Tensor, num_src: int, num_dst: int) -> None:
    """Raise a ValueError if the pointers of so many nodes do not fit into memory."""
    size = 8 * (num_src + num_dst + max(num_src, num_dst))
    if traced() or size <= memory_of(src.device):
        return
    largest = max((int(ids.max()) for ids in (src, dst) if ids.numel()), default=None)
    named = "" if largest is None else f", and the largest id in edge_index is {largest}"
    raise ValueError(
        f"A Graph of {max(num_src, num_dst)} nodes needs {size / 2**30:.4g} GiB, more than there "
        f"is{named}. Renumber ids that are hashes or have large gaps: n_id, edge_index = "
        "torch.unique(edge_index, return_inverse=True), then num_nodes=len(n_id)."
    )


def _check_range(end: str, ids: Tensor, count: int) -> None:
    """Raise an IndexError that names the first node id outside 0 … count − 1."""
    if ids.numel() == 0 or traced():
        return
    low, high = torch.aminmax(ids)
    if bool((low < 0) | (high >= count)):
        bad = ids[(ids < 0) | (ids >= count)][0].item()
        raise IndexError(
            f"edge_index names {end} node {bad}, but there are {count} {end} nodes, numbered "
            f"from 0. Ids must lie in [0, {count}): of a sampled batch, pass its own edge_index."
        )
