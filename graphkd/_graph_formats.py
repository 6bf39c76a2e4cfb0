"""Read sources and targets from every graph format that PyG users have."""

from typing import Any

import torch
from torch import Tensor

from graphkd._checks import describe
from graphkd._slips import for_edges

_INTEGERS = (torch.int32, torch.int64)
_BY_NAME = "Pass a mask or row numbers by name, as index=."
_DENSE = "turn a dense adjacency into edges with torch_geometric.utils.dense_to_sparse."


def is_edge_index(graph: Any) -> bool:
    return isinstance(graph, Tensor) and type(graph).__name__ == "EdgeIndex"


def source_target(graph: Any, num_src: int, num_dst: int) -> tuple[Tensor, Tensor]:
    """Read sources and targets from any accepted format."""
    if is_edge_index(graph):
        graph = graph.as_tensor()
    if type(graph).__module__.startswith("torch_sparse"):
        _check_sparse_shape(graph.sizes(), num_src, num_dst)
        dst, src, _ = graph.coo()
        return src, dst
    if not isinstance(graph, Tensor):
        raise TypeError(
            "edge_index must be a [2, E] integer tensor, an EdgeIndex, a sparse adj_t or a "
            f"graphkd.Graph; got {describe(graph)}. {for_edges(graph)}"
        )
    if graph.layout != torch.strided:
        return _from_torch_sparse(graph, num_src, num_dst)
    if graph.dtype not in _INTEGERS:
        hint = f"For an empty graph use torch.empty(2, 0, dtype=torch.long); {_DENSE}"
        if graph.dtype == torch.bool and graph.dim() == 1:
            hint = _BY_NAME
        raise TypeError(f"edge_index must be int64 or int32; got {describe(graph)}. {hint}")
    if graph.dim() != 2 or graph.size(0) != 2:
        transposed = graph.dim() == 2 and graph.size(1) == 2
        hint = "Transpose it with .t()." if transposed else "Row 0 is the source, row 1 the target."
        if graph.dim() == 2 and graph.size(0) == graph.size(1):
            hint = _DENSE.capitalize()
        elif graph.dim() == 1:
            hint = _BY_NAME
        raise ValueError(f"edge_index must have shape [2, E]; got {describe(graph)}. {hint}")
    return graph[0], graph[1]


def _from_torch_sparse(adj_t: Tensor, num_src: int, num_dst: int) -> tuple[Tensor, Tensor]:
    _check_sparse_shape(adj_t.shape[:2], num_src, num_dst)
    if adj_t.layout == torch.sparse_coo:
        # Only the raw indices keep the duplicate edges of an uncoalesced tensor.
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
    numbers = torch.arange(pointer.numel() - 1, device=pointer.device)
    return numbers.repeat_interleave(pointer.diff())


def _check_sparse_shape(shape: Any, num_src: int, num_dst: int) -> None:
    if tuple(shape) != (num_dst, num_src):
        raise ValueError(
            f"A sparse graph must be adj_t of shape [targets, sources] = ({num_dst}, {num_src}); "
            f"got {tuple(shape)}. Transpose it with .t(), or check the number of nodes."
        )
