"""Text for comparing what made a store: teacher, graph, forward."""

import functools
import hashlib
import json
from collections.abc import Iterator
from types import BuiltinFunctionType, CodeType, EllipsisType, FunctionType, NoneType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from graphkd._checks import tensors_in
from graphkd._graph_formats import source_target
from graphkd._store.files import raw

_CHUNK = 2**22
_SAMPLED_ROWS = 1024
_BITS = 2**64 - 1
_SPARSE = {
    torch.sparse_coo: ("indices", "values"),
    torch.sparse_csr: ("crow_indices", "col_indices", "values"),
    torch.sparse_bsr: ("crow_indices", "col_indices", "values"),
    torch.sparse_csc: ("ccol_indices", "row_indices", "values"),
    torch.sparse_bsc: ("ccol_indices", "row_indices", "values"),
}
_PLAIN = (int, float, complex, str, bytes, NoneType, EllipsisType)
# Attributes hashed elsewhere, and those that do not change the teacher's outputs.
_OTHER_KEYS = {"x", "edge_index", "adj_t", "n_id", "batch", "ptr"}
_OTHER_KEYS |= {"y", "train_mask", "val_mask", "test_mask"}


def teacher_fingerprint(teacher: nn.Module) -> str:
    """A hash of all parameters, persistent buffers, classes and plain attributes."""
    digest = hashlib.blake2b(digest_size=16)
    for name, module in teacher.named_modules():
        functions = {
            key: callable_fingerprint(value)
            for key, value in vars(module).items()
            if isinstance(value, (FunctionType, BuiltinFunctionType))
        }
        facts = {**_attributes(module), **functions}
        digest.update(f"{name} {type(module).__qualname__} {_text(facts)}".encode())
    for name, value in sorted(teacher.state_dict().items()):
        digest.update(name.encode())
        for tensor in tensors_in(value):  # a quantised layer has a tuple of them
            _add(digest, f"{name} of the teacher", tensor)
    return digest.hexdigest()


def _add(digest: Any, name: str, x: Tensor) -> None:
    """Add a tensor of any kind."""
    try:
        for part in _parts(name, x):
            _update(digest, part)
    except (RuntimeError, TypeError) as error:
        raise TypeError(
            f"TeacherStore.build: {name} cannot be read, to compare it with other builds: it is a "
            f"{type(x).__name__} ({error}). Give its class __tensor_flatten__, or convert it to a "
            "plain tensor."
        ) from error


def _parts(name: str, x: Any) -> Iterator[Any]:
    """The plain dense tensors and the text that make up a tensor of any kind.

    Nothing is made dense, and nothing is gathered from other ranks.
    """
    what, inner = type(x).__qualname__, []
    if is_lazy(x) or x.device.type == "meta":
        raise ValueError(
            f"TeacherStore.build: {name} has no value yet. Call the teacher once, or load its "
            "weights, before it teaches."
        )
    if hasattr(x, "as_tensor"):  # PyG's EdgeIndex and Index; the rest of them is caches
        inner = [x.as_tensor()]
    elif hasattr(x, "local_shards"):  # a ShardedTensor
        inner = [shard.tensor for shard in x.local_shards()]
    elif hasattr(x, "get_mask"):  # a MaskedTensor
        inner = [x.get_data(), x.get_mask()]
    elif hasattr(x, "__tensor_flatten__"):  # a DTensor, a jagged tensor, quantised weights, ...
        found = [getattr(x, each) for each in x.__tensor_flatten__()[0]]
        inner = [each for each in found if isinstance(each, Tensor)]  # of a DTensor, this rank's
    elif x.is_nested:
        inner = list(x.unbind())
    elif x.layout in _SPARSE:
        what = f"{x.layout}{tuple(x.shape)}"
        x = x.coalesce() if x.layout == torch.sparse_coo else x
        inner = [getattr(x, each)() for each in _SPARSE[x.layout]]
    elif x.is_quantized and x.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        inner = [x.int_repr(), torch.tensor([x.q_scale(), x.q_zero_point()], device="cpu")]
    elif x.is_quantized:
        inner = [x.int_repr(), x.q_per_channel_scales(), x.q_per_channel_zero_points()]
    else:
        x = x.detach() if x.layout == torch.strided else x.to_dense()
        yield x.as_subclass(Tensor).resolve_conj().resolve_neg()
        return
    yield what
    for each in inner:
        yield from _parts(name, each)


def _update(digest: Any, part: Tensor | str) -> None:
    """Add text, or a dense tensor: piece by piece, so that an expanded one needs no memory."""
    if isinstance(part, str):
        digest.update(part.encode())
        return
    digest.update(f"{part.dtype}{tuple(part.shape)}".encode())
    for piece in _pieces(part):
        digest.update(raw(piece.cpu()))


def _pieces(x: Tensor) -> Iterator[Tensor]:
    """The entries in their order, in tensors of limited size."""
    if x.numel() <= _CHUNK:
        yield x
    elif x.numel() // x.size(0) > _CHUNK:
        for row in x:
            yield from _pieces(row)
    else:
        yield from torch.split(x, _CHUNK * x.size(0) // x.numel())


def graph_fingerprint(data: Any) -> dict[str, Any]:
    """The numbers of nodes, and hashes of sampled tensors and of edges, in any order and format.

    For a data set of graphs: their number, and the same facts for the first and the last graph.
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
        found |= _others(name, store)
    for kind, store in edges.items():
        graph = store.get("edge_index", store.get("adj_t"))
        if graph is not None:
            ends = nodes[kind[0]].num_nodes, nodes[kind[2]].num_nodes
            found[f"edges {' '.join(kind)}".strip()] = _edges(*source_target(graph, *ends))
        if hetero:
            found |= _others(" ".join(kind), store)
    return found


def _others(name: str, store: Any) -> dict[str, str]:
    """Hashes of edge weights, positions and the like, each under "attribute" and its name."""
    return {
        f"attribute {key} {name}".strip(): _sample(value)
        for key, value in store.items()
        if isinstance(value, Tensor) and value.layout == torch.strided and key not in _OTHER_KEYS
    }


def names_fingerprint(data: Any) -> list[str] | None:
    """Text for the names of a graph's or batch's rows, n_id and batch_size; None without n_id."""
    names = [
        f"{_sample(store['n_id'], None)} {store.get('batch_size')}"
        for store in data.node_stores
        if isinstance(store.get("n_id"), Tensor)
    ]
    return names or None


def batches_fingerprint(batches: Any) -> str | None:
    """A hash of a list of batches, in any order if they name their rows; None if not a list."""
    if not isinstance(batches, (list, tuple)):
        return None
    facts = []
    for place, batch in enumerate(batches):
        if not hasattr(batch, "node_stores"):
            return None
        names = names_fingerprint(batch)
        facts.append(json.dumps([names or place, graph_fingerprint(batch)], sort_keys=True))
    return hashlib.blake2b("\n".join(sorted(facts)).encode(), digest_size=16).hexdigest()


def _edges(src: Tensor, dst: Tensor) -> str:
    """A sum of mixed edge numbers, modulo 2^64, so that the order of the edges does not matter."""
    total = 0
    for start in range(0, src.numel(), _CHUNK):
        mixed = src[start : start + _CHUNK].long() * 0x1E3779B97F4A7C15
        mixed = _mix(mixed + dst[start : start + _CHUNK].long())
        total += int(_mix(mixed).sum())
    return f"{src.numel()}-{total & _BITS:016x}"


def _mix(x: Tensor) -> Tensor:
    # A step as in MurmurHash3's finaliser. torch's shift of int64 keeps the sign; a mask clears it.
    x = (x ^ (x >> 33 & 0x7FFFFFFF)) * 0x7F51AFD7ED558CCD
    return x ^ (x >> 29 & 0x7FFFFFFFF)


def _sample(x: Tensor, most: int | None = _SAMPLED_ROWS) -> str:
    """A hash of at most so many evenly spaced rows. It may miss a single changed entry."""
    count = x.size(0) if x.dim() else 0
    digest = hashlib.blake2b(f"{x.dtype}{tuple(x.shape)}".encode(), digest_size=16)
    if count:
        size = count if most is None else min(count, most)
        at = torch.linspace(0, count - 1, size, dtype=torch.float64, device="cpu")
        _add(digest, "an attribute of the graph", x.detach()[at.long().to(x.device)])
    return digest.hexdigest()


def ids_fingerprint(ids: Tensor) -> str:
    """A hash of a set of ids."""
    return hashlib.blake2b(raw(torch.unique(ids.long().cpu())), digest_size=16).hexdigest()


def callable_fingerprint(function: Any) -> str | None:
    """Text of name, code, and plain defaults or attributes: an edited lambda differs."""
    if function is None or isinstance(function, str):
        return function
    if isinstance(function, functools.partial):
        bound = _text((function.args, function.keywords))
        return f"partial {callable_fingerprint(function.func)} {bound}"
    name = getattr(function, "__qualname__", type(function).__qualname__)
    code = getattr(function, "__code__", None)
    if code is None:  # an object, or a function in C
        code = getattr(type(function).__call__, "__code__", None)
        bound = _text(_attributes(function))
    else:
        bound = _text((function.__defaults__, function.__kwdefaults__))
    return f"{name} {_text(code)} {bound}"


def _attributes(owner: Any) -> dict[str, Any]:
    """The public attributes of an object that are numbers, strings, or tuples of them."""
    return {
        name: value
        for name, value in getattr(owner, "__dict__", {}).items()
        if _is_plain(value) and not name.startswith("_") and name != "training"
    }


def _is_plain(value: Any) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, tuple) and all(map(_is_plain, value)))


def _text(value: Any) -> str:
    """Text for a value, the same in every process; only the type if the value is not plain."""
    if isinstance(value, dict):
        return _text(frozenset(f"{key}={_text(entry)}" for key, entry in value.items()))
    if isinstance(value, frozenset):
        return f"{{{', '.join(sorted(map(_text, value)))}}}"
    if isinstance(value, tuple):
        return f"({', '.join(map(_text, value))})"
    if isinstance(value, CodeType):
        content = value.co_code + _text((value.co_names, value.co_consts)).encode()
        return hashlib.blake2b(content, digest_size=8).hexdigest()
    return repr(value) if isinstance(value, _PLAIN) else type(value).__qualname__
