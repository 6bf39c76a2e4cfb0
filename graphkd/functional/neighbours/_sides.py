"""The two sides of LSP's edges, and which edges take part."""

from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from graphkd._checks import check_devices, check_pair
from graphkd._precision import student_and_teacher
from graphkd.graph import Edges

Embeddings: TypeAlias = Tensor | tuple[Tensor, Tensor]


class Sides(NamedTuple):
    """The rows that edges start from and the rows that they end at."""

    src: Tensor
    dst: Tensor


def read_sides(loss: str, h_s: Any, h_t: Any) -> tuple[Sides, Sides, bool]:
    """Student and teacher as checked, upcast pairs of sources and targets."""
    pairs = [isinstance(h, tuple | list) for h in (h_s, h_t)]
    if pairs[0] != pairs[1]:
        raise TypeError(
            f"{loss}: h_s and h_t must both be tensors, or both (sources, targets) pairs; got "
            f"{type(h_s).__name__} and {type(h_t).__name__}."
        )
    if not pairs[0]:
        check_pair(loss, h_s, h_t)
        h_s, h_t = student_and_teacher(h_s, h_t)
        return Sides(h_s, h_s), Sides(h_t, h_t), False
    if len(h_s) != 2 or len(h_t) != 2:
        raise ValueError(
            f"{loss}: a bipartite input is a pair (sources, targets); got {len(h_s)} and "
            f"{len(h_t)} tensors."
        )
    for side, name in enumerate(("src", "dst")):
        check_pair(loss, h_s[side], h_t[side], names=(f"h_s {name}", f"h_t {name}"))
    for name, (src, dst) in {"h_s": h_s, "h_t": h_t}.items():
        check_devices(loss, sources=src, targets=dst)
        if src.size(1) != dst.size(1):
            raise ValueError(
                f"{loss}: sources and targets of {name} are compared with one another and must "
                f"have the same width; got {tuple(src.shape)} and {tuple(dst.shape)}."
            )
    (s_src, t_src), (s_dst, t_dst) = (
        student_and_teacher(s, t) for s, t in zip(h_s, h_t, strict=True)
    )
    dtype = torch.promote_types(s_src.dtype, s_dst.dtype)
    return Sides(s_src.to(dtype), s_dst.to(dtype)), Sides(t_src.to(dtype), t_dst.to(dtype)), True


def edges_into(edges: Edges, chosen: Tensor | None) -> Tensor:
    """Which edges end in the chosen centres."""
    if chosen is None:
        return torch.ones_like(edges.dst, dtype=torch.bool)
    member = torch.zeros(edges.num_dst, dtype=torch.bool, device=edges.dst.device)
    return member.index_fill(0, chosen, True).index_select(0, edges.dst)


def counted_lengths(edges: Edges, active: Tensor | None, bipartite: bool) -> Tensor:
    """Which edges a median length is over: those into chosen centres, without self loops."""
    counts = torch.ones_like(edges.dst, dtype=torch.bool) if active is None else active
    return counts if bipartite else counts & (edges.src != edges.dst)
