"""Graphs: every accepted format becomes one sorted edge list, and node selection.

Rows are centres and columns neighbours, as in the ``adj_t`` that a PyG convolution takes:
``edge_index[0]`` is the neighbour j, ``edge_index[1]`` the centre i.
"""

import threading
import weakref
from collections import OrderedDict
from typing import Any, NamedTuple

import torch
from torch import Tensor

from graphkd._checks import check_count, describe

_INTEGERS = (torch.int32, torch.int64)
_CACHE_SIZE = 8


class Edges(NamedTuple):
    """A checked edge list: edge k runs from node ``src[k]`` to its centre ``dst[k]``."""

    src: Tensor
    dst: Tensor
    num_src: int
    num_dst: int


class Graph:
    r"""An immutable, validated graph, sorted by centre, for reuse over training steps.

    A loss accepts it wherever it accepts ``edge_index`` and then neither checks nor sorts again.
    Duplicate edges and self loops are kept: each counts once per occurrence.

    Args:
        edge_index: A :math:`[2, E]` tensor (int32 or int64) in PyG's source-to-target
            convention, a PyG ``EdgeIndex``, or the transposed adjacency ``adj_t``
            :math:`[N_{dst}, N_{src}]` as a ``torch.sparse`` COO, CSR or CSC tensor or a
            ``torch_sparse.SparseTensor``. Stored values are ignored.
        num_nodes: The number of nodes, or ``(num_sources, num_targets)`` of a bipartite graph.

    Raises:
        TypeError: If the format or dtype is not one of these.
        ValueError: If the shape is wrong, or ``adj_t`` does not fit ``num_nodes``.
        IndexError: If an edge names a node that does not exist.

    Example:
        >>> import torch, graphkd
        >>> graph = graphkd.Graph(torch.tensor([[1, 0, 2], [0, 1, 0]]), num_nodes=3)
        >>> graph
        Graph(num_nodes=3, num_edges=3)
        >>> graph.edge_index
        tensor([[1, 2, 0],
                [0, 0, 1]])
    """

    src: Tensor
    dst: Tensor
    num_src: int
    num_dst: int

    def __init__(self, edge_index: Any, num_nodes: int | tuple[int, int]) -> None:
        num_src, num_dst = _node_counts(num_nodes)
        # A graph built (or cached) during evaluation must still serve in training.
        with torch.inference_mode(False):
            src, dst = _source_target(edge_index, num_src, num_dst)
            _check_range("source", src, num_src)
            _check_range("target", dst, num_dst)
            dst, order = dst.long().sort(stable=True)
            src = src.long()[order]
        vars(self).update(src=src, dst=dst, num_src=num_src, num_dst=num_dst)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"Graph is immutable; cannot set {name!r}. Build a new Graph.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"Graph is immutable; cannot delete {name!r}.")

    def __repr__(self) -> str:
        nodes: Any = self.num_src if self.num_src == self.num_dst else (self.num_src, self.num_dst)
        return f"{type(self).__name__}(num_nodes={nodes}, num_edges={self.num_edges})"

    @property
    def num_edges(self) -> int:
        """The number of edges, counted with multiplicity."""
        return self.src.numel()

    @property
    def edge_index(self) -> Tensor:
        """The edges as a sorted int64 :math:`[2, E]` tensor."""
        return torch.stack([self.src, self.dst])

    @property
    def edges(self) -> Edges:
        """The edges in the form that the losses compute with."""
        return Edges(self.src, self.dst, self.num_src, self.num_dst)

    def to(self, device: torch.device | str) -> "Graph":
        """The same graph on another device."""
        moved = object.__new__(Graph)
        vars(moved).update(vars(self), src=self.src.to(device), dst=self.dst.to(device))
        return moved


def resolve_edges(loss: str, graph: Any, num_src: int, num_dst: int, device: torch.device) -> Edges:
    """The edges of any accepted graph format, checked against the embeddings' row counts."""
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
        edges = graph.edges
    elif torch.compiler.is_compiling():
        # Values cannot be looked at while compiling; the gathers check them when they run.
        src, dst = _source_target(graph, num_src, num_dst)
        edges = Edges(src.long(), dst.long(), num_src, num_dst)
    else:
        edges = _cached_graph(graph, num_src, num_dst).edges
    if edges.src.device != device:
        raise ValueError(
            f"{loss}: embeddings and edge_index must be on the same device; got {device} and "
            f"{edges.src.device}. Move one with .to(...)."
        )
    return edges


class _Entry(NamedTuple):
    tensor: "weakref.ref[Tensor]"
    version: tuple[int, ...]
    shape: tuple[int, ...]
    graph: Graph


_cache: OrderedDict[tuple[int, int, int], _Entry] = OrderedDict()
_cache_lock = threading.Lock()


def _cached_graph(edge_index: Any, num_src: int, num_dst: int) -> Graph:
    """Build a Graph, or take the one built before from this very tensor if it is unchanged.

    The key is the tensor's identity with torch's version counter, which in-place operations
    advance. Tensors without a counter (made in inference mode) are not cached.
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
    """Torch's counters of in-place changes; an EdgeIndex counts apart from what it wraps."""
    if _is_edge_index(edge_index):
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


def _is_edge_index(graph: Any) -> bool:
    return isinstance(graph, Tensor) and type(graph).__name__ == "EdgeIndex"


def _source_target(graph: Any, num_src: int, num_dst: int) -> tuple[Tensor, Tensor]:
    """Read sources and targets out of any accepted format."""
    if _is_edge_index(graph):
        graph = graph.as_tensor()
    if type(graph).__module__.startswith("torch_sparse"):
        _check_sparse_shape(graph.sizes(), num_src, num_dst)
        dst, src, _ = graph.coo()
        return src, dst
    if not isinstance(graph, Tensor):
        raise TypeError(
            "edge_index must be a [2, E] integer tensor, an EdgeIndex, a sparse adj_t or a "
            f"graphkd.Graph; got {type(graph).__name__}. Convert it with torch.as_tensor."
        )
    if graph.layout != torch.strided:
        return _from_torch_sparse(graph, num_src, num_dst)
    if graph.dtype not in _INTEGERS:
        raise TypeError(
            f"edge_index must be int64 or int32; got {describe(graph)}. "
            "For an empty graph use torch.empty(2, 0, dtype=torch.long); turn a dense adjacency "
            "into edges with torch_geometric.utils.dense_to_sparse."
        )
    if graph.dim() != 2 or graph.size(0) != 2:
        transposed = graph.dim() == 2 and graph.size(1) == 2
        hint = "Transpose it with .t()." if transposed else "Row 0 is the source, row 1 the target."
        raise ValueError(f"edge_index must have shape [2, E]; got {describe(graph)}. {hint}")
    return graph[0], graph[1]


def _from_torch_sparse(adj_t: Tensor, num_src: int, num_dst: int) -> tuple[Tensor, Tensor]:
    _check_sparse_shape(adj_t.shape[:2], num_src, num_dst)
    if adj_t.layout == torch.sparse_coo:
        # An uncoalesced tensor keeps its duplicate edges only through the raw indices.
        dst, src = adj_t._indices()
        return src, dst
    if adj_t.layout == torch.sparse_csr:
        return adj_t.col_indices(), _expand_pointer(adj_t.crow_indices())
    if adj_t.layout == torch.sparse_csc:
        return _expand_pointer(adj_t.ccol_indices()), adj_t.row_indices()
    raise TypeError(
        f"A sparse adj_t must be in COO, CSR or CSC layout; got {adj_t.layout}. "
        "Call .to_sparse_csr()."
    )


def _expand_pointer(pointer: Tensor) -> Tensor:
    rows = torch.arange(pointer.numel() - 1, device=pointer.device)
    return rows.repeat_interleave(pointer.diff())


def _check_sparse_shape(shape: Any, num_src: int, num_dst: int) -> None:
    if tuple(shape) != (num_dst, num_src):
        raise ValueError(
            f"A sparse graph must be adj_t of shape [targets, sources] = ({num_dst}, {num_src}); "
            f"got {tuple(shape)}. Transpose it with .t(), or check the number of nodes."
        )


def _check_range(side: str, ids: Tensor, count: int) -> None:
    """Raise an IndexError that names the first node id outside 0 … count − 1."""
    if ids.numel() == 0:
        return
    low, high = torch.aminmax(ids)
    if bool((low < 0) | (high >= count)):
        bad = ids[(ids < 0) | (ids >= count)][0].item()
        raise IndexError(
            f"edge_index names {side} node {bad}, but there are {count} {side} nodes, numbered "
            f"from 0. Ids must lie in [0, {count}): of a sampled batch, pass its own edge_index."
        )
