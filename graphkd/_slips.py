"""What to do about a value of the wrong kind, by what it is: the last sentence of an error.

An error that tells the owner of a PyG ``Data`` to convert it to a tensor is no help. Everything
here runs after a check has failed, and costs a good call nothing.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

_INTEGERS = (torch.int32, torch.int64)


def for_rows(value: Any, tensors: int, what: str) -> str:
    """What to pass as ``what``, a matrix, instead of an object that holds some ``tensors``."""
    if tensors:
        return (
            f"It holds {tensors} tensor{'s' * (tensors > 1)}: several layers or teachers are for "
            "LayerwiseLoss, MultiTeacherLoss, TINEDLoss or FSPLoss, node types for HeteroLoss. "
            "Call this loss on its own, with one of them."
        )
    if _from(value, "torch_geometric.data"):
        return f"Pass the {what} that the model returns for it, model(data.x, data.edge_index)."
    if what == "codes" and isinstance(getattr(value, "weight", None), Tensor):
        return "Pass the codes that it holds: codebook.weight."
    if callable(value):
        return f"Call it, and pass the {what} that it returns."
    if isinstance(value, list | tuple) or hasattr(value, "__array__"):
        return "Convert it with torch.as_tensor."
    return f"Pass the {what} themselves, as a tensor."


def for_numbers(name: str, h: Tensor, what: str) -> str:
    """What to do about rows that are not floating-point: they may be another argument's."""
    convert = f"else call {name}.float()."
    if h.is_complex():
        return f"Pass torch.view_as_real({name}).flatten(1)."
    if h.dtype == torch.bool:
        return f"If it is a mask of rows, pass it as index=; {convert}"
    if what == "logits":
        return (
            "If these are labels, they belong into the task's own loss, F.cross_entropy(z_s, y), "
            f"and {name} takes outputs of a model before the softmax; {convert}"
        )
    if h.dim() == 2 and h.size(0) == 2:
        return f"If these are edges, pass them as edge_index=; {convert}"
    if h.dim() == 1:
        return f"If these are labels or row numbers, they belong in another argument; {convert}"
    return f"Call {name}.float()."


def for_dimensions(what: str) -> str:
    """What to do about rows that are no matrix."""
    labels = " Labels belong into the task's own loss." if what == "logits" else ""
    return (
        "Use .unsqueeze(-1) for one value per node, .flatten(0, -2) for more dimensions." + labels
    )


def for_index(index: Any, rows: int, what: str = "row") -> str:
    """What to pass as ``index=`` instead, to a loss of some ``rows``, or of anchors."""
    if isinstance(index, Tensor):
        return _for_index_tensor(index, rows, what)
    if isinstance(index, int) and not isinstance(index, bool):
        return f"For the first rows, the seeds of a batch, pass torch.arange({index})."
    if isinstance(index, slice | range):
        return "Pass torch.arange(start, stop)."
    if isinstance(index, tuple) and len(index) == 1 and isinstance(index[0], Tensor):
        return "Pass its only element."
    if isinstance(index, list | tuple) or hasattr(index, "__array__"):
        return "Convert it with torch.as_tensor."
    return "Pass data.train_mask, or row numbers."


def _for_index_tensor(index: Tensor, rows: int, what: str) -> str:
    if index.layout != torch.strided:
        return "Call .to_dense() on it."
    if index.dim() == 2 and index.size(1) == 1:
        return "Call .view(-1) on it."
    if index.dim() == 2 and index.size(0) == rows:
        return "Of the masks of several splits, pass one: mask[:, 0]."
    if index.dtype == torch.bool and what == "anchor":
        return "Cut a mask of all nodes to the anchors, the rows of context: mask[anchors]."
    if index.dtype == torch.bool:
        return "Cut a mask of the whole graph to the rows of a batch: mask[batch.n_id]."
    return "Pass a vector of row numbers, or a mask."


def for_edges(graph: Any) -> str:
    """What to pass as ``edge_index`` instead of an object of another kind."""
    if isinstance(graph, Mapping) or hasattr(graph, "edge_index_dict"):
        return "Edges by type are for HeteroLoss; here, pass those of one type."
    if getattr(graph, "edge_index", None) is not None:
        return "Pass its edge_index."
    if getattr(graph, "adj_t", None) is not None:
        return "Pass its adj_t."
    if isinstance(graph, list | tuple) and graph:
        return _for_parts_of_edges(graph)
    if _from(graph, "scipy"):
        return "Pass torch_geometric.utils.from_scipy_sparse_matrix(graph)[0]."
    if _from(graph, "networkx"):
        return "Pass torch_geometric.utils.from_networkx(graph).edge_index."
    if _from(graph, "dgl"):
        return "Pass torch.stack(graph.edges())."
    return "Convert it with torch.as_tensor." if hasattr(graph, "__array__") else "Pass edges."


def _for_parts_of_edges(parts: list[Any] | tuple[Any, ...]) -> str:
    first = parts[0]
    if isinstance(first, Tensor):
        together = len(parts) == 2 and all(
            isinstance(part, Tensor) and part.dim() == 1 and part.dtype in _INTEGERS
            for part in parts
        )
        return (
            "Join sources and targets: torch.stack([src, dst])."
            if together
            else "Pass its first element, if that holds the edges; their weights do not count."
        )
    parts_of_first = isinstance(first, (list, tuple)) and any(isinstance(x, Tensor) for x in first)
    if isinstance(first, (int, list, tuple)) and not parts_of_first:
        return "Convert it with torch.as_tensor."
    return "Pass one element, if each holds the edges of a layer or of a graph."


def for_ids(ids: Any, rows: int, remedy: str, several: str = "") -> str:
    """What to do about ids or labels of the wrong type or shape; the remedy, if nothing shows.

    ``several`` says more of rows with several labels.
    """
    if isinstance(ids, Tensor) and ids.layout != torch.strided:
        return "Call .to_dense() on it."
    if not isinstance(ids, Tensor) or ids.dim() not in (1, 2):
        return remedy
    if ids.dim() == 2:
        if ids.size(0) == 2 != rows:
            return "If these are edges, pass them as edge_index=."
        one_hot = "Of one-hot rows, pass .argmax(1)."
        return "Call .view(-1) on it." if ids.size(1) == 1 else one_hot + several
    if ids.dtype == torch.bool:
        return "If it is a mask of rows, pass it as index=; else call .long() on it."
    return remedy if ids.dtype in _INTEGERS else f"Call .long() on it. {remedy}"


def for_weight(weight: Any, n: int, what: str, columns: int | None = None) -> str:
    """What to pass as the weights of ``n`` rows, anchors or edges; rows have some ``columns``."""
    if isinstance(weight, int | float):
        return "To weigh the whole loss, multiply it by the number, or put it into a WeightedSum."
    if isinstance(weight, Mapping):
        return "Weights by type are for HeteroLoss; here, pass those of one type."
    if not isinstance(weight, Tensor):
        return "Convert it with torch.as_tensor."
    if weight.layout != torch.strided:
        return "Call .to_dense() on it."
    if weight.dim() == 2 and 1 in weight.shape and weight.numel() == n:
        return "Call .view(-1) on it."
    if not weight.is_floating_point():
        return "Call .float() on it."
    if what == "edge":
        return "Give each edge of edge_index its weight, in the same order."
    if what == "anchor":
        return "Cut the weights of all nodes to the anchors, the rows of context: weight[anchors]."
    if weight.dim() == 1 and weight.numel() == columns:
        return (
            "It has one for each column: weight tells rows apart, and no classes or features. If "
            "it is of the rows that index selects, pass the weights of all rows."
        )
    return "Pass the weights of all rows, also where index selects some."


def for_temperature(temperature: Tensor, of_rows: bool = True) -> str:
    """What to pass as a temperature instead of a tensor of another shape."""
    if temperature.numel() == 1:
        return "Call .view(()) on it; one that learns is nn.Parameter(torch.tensor(4.0))."
    if not of_rows:
        return "Here all rows have one temperature; weight= tells rows apart."
    if 1 in temperature.shape:
        return "Call .view(-1) on it."
    return "index selects from it too: pass the temperatures of all rows."


def _from(value: Any, package: str) -> bool:
    """Whether the value's class, or one that it derives from, is of the package."""
    return any(kind.__module__.startswith(package) for kind in type(value).__mro__)
