"""What a store was made by, as text that can be compared: teacher, graph, forward."""

import hashlib
from types import CodeType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from graphkd._graph_formats import source_target
from graphkd._store.files import raw

_CHUNK = 2**22
_SAMPLED_ROWS = 1024
_BITS = 2**64 - 1


def teacher_fingerprint(teacher: nn.Module) -> str:
    """A hash of the class's name and of every parameter and persistent buffer."""
    digest = hashlib.blake2b(type(teacher).__qualname__.encode(), digest_size=16)
    for name, value in sorted(teacher.state_dict().items()):
        digest.update(name.encode())
        if not isinstance(value, Tensor):
            continue
        if is_lazy(value):
            raise ValueError(
                f"TeacherStore.build: {name} of the teacher has no value yet. Call the teacher "
                "once, or load its weights, before it teaches."
            )
        dense = value.detach() if value.layout == torch.strided else value.detach().to_dense()
        digest.update(f"{dense.dtype}{tuple(dense.shape)}".encode())
        digest.update(raw(dense.cpu()))
    return digest.hexdigest()


def graph_fingerprint(data: Any) -> dict[str, Any]:
    """The counts of nodes, a hash of the edges in any order and format, and one of sampled x.

    Of a data set of graphs: their number, and this for the first and the last.
    """
    if not hasattr(data, "node_stores"):
        outer = {"first": data[0], "last": data[len(data) - 1]} if len(data) else {}
        facts = {place: graph_fingerprint(graph) for place, graph in outer.items()}
        return {"graphs": len(data)} | {
            f"{p} {k}": v for p, f in facts.items() for k, v in f.items()
        }
    hetero = hasattr(data, "node_types")
    nodes = {name: data[name] for name in data.node_types} if hetero else {"": data}
    edges = {name: data[name] for name in data.edge_types} if hetero else {("", "", ""): data}
    found: dict[str, Any] = {}
    for name, store in nodes.items():
        found[f"nodes {name}".strip()] = store.num_nodes
        x = store.get("x")
        if isinstance(x, Tensor) and x.layout == torch.strided:
            found[f"features {name}".strip()] = _sample(x)
    for kind, store in edges.items():
        graph = store.get("edge_index", store.get("adj_t"))
        if graph is not None:
            ends = nodes[kind[0]].num_nodes, nodes[kind[2]].num_nodes
            found[f"edges {' '.join(kind)}".strip()] = _edges(*source_target(graph, *ends))
    return found


def _edges(src: Tensor, dst: Tensor) -> str:
    """A sum of mixed edge numbers, modulo 2^64: the order of edges does not matter."""
    total = 0
    for start in range(0, src.numel(), _CHUNK):
        mixed = src[start : start + _CHUNK].long() * 0x1E3779B97F4A7C15
        mixed = _mix(mixed + dst[start : start + _CHUNK].long())
        total += int(_mix(mixed).sum())
    return f"{src.numel()}-{total & _BITS:016x}"


def _mix(x: Tensor) -> Tensor:
    # The step of MurmurHash3's finaliser; torch's shift of int64 keeps the sign, so it is masked.
    x = (x ^ (x >> 33 & 0x7FFFFFFF)) * 0x7F51AFD7ED558CCD
    return x ^ (x >> 29 & 0x7FFFFFFFF)


def _sample(x: Tensor) -> str:
    """A hash of at most 1,024 rows, evenly spaced: it notices other features, not one entry."""
    count = x.size(0) if x.dim() else 0
    digest = hashlib.blake2b(f"{x.dtype}{tuple(x.shape)}".encode(), digest_size=16)
    if count:
        at = torch.linspace(0, count - 1, min(count, _SAMPLED_ROWS), dtype=torch.float64)
        digest.update(raw(x.detach()[at.long().to(x.device)].cpu()))
    return digest.hexdigest()


def ids_fingerprint(ids: Tensor) -> str:
    """A hash of a set of ids."""
    return hashlib.blake2b(raw(torch.unique(ids.long().cpu())), digest_size=16).hexdigest()


def callable_fingerprint(function: Any) -> str | None:
    """The name and the code of a function, so that an edited lambda is another one."""
    if function is None or isinstance(function, str):
        return function
    name = getattr(function, "__qualname__", type(function).__qualname__)
    code = getattr(function, "__code__", None)
    return name if code is None else f"{name} {_code(code).hexdigest()}"


def _code(code: CodeType) -> "hashlib.blake2b":
    digest = hashlib.blake2b(code.co_code, digest_size=8)
    digest.update(repr(code.co_names).encode())
    for constant in code.co_consts:
        inner = isinstance(constant, CodeType)
        digest.update(_code(constant).digest() if inner else repr(constant).encode())
    return digest
