"""How each operation of a model changes the Dirichlet energy of the embeddings: TINED."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from graphkd._checks import check_choice, check_flag, check_matrix, describe
from graphkd._precision import exact, full_precision, upcast
from graphkd.functional._options import check_blocked_options
from graphkd.functional._rows import matched_rows, refuse_weight
from graphkd.graph import Edges, largest_weight, resolve_edges
from graphkd.ops.primitives import edge_squares
from graphkd.ops.segments import segment_sum

Operations: TypeAlias = Sequence[Tensor] | Sequence[tuple[Tensor, Tensor]]

MEASURES = ("ratio", "root", "log")


def check_tined_options(
    loss: str, *, measure: str, normalized: bool, backend: str, chunk_size: int | None
) -> None:
    """Raise on an option that is out of range."""
    check_choice(f"{loss}: measure", measure, MEASURES)
    _check_energy_options(loss, normalized, backend, chunk_size)


def tined_loss(
    h_s: Operations,
    h_t: Operations,
    edge_index: Any,
    *,
    measure: str = "ratio",
    normalized: bool = False,
    weight: Tensor | None = None,
    edge_weight: Tensor | None = None,
    backend: str = "auto",
    chunk_size: int | None = None,
) -> Tensor:
    r"""Squared difference of the ratios by which operations change the Dirichlet energy.

    Replaces ``(E(a_s) / E(b_s) - E(a_t) / E(b_t)) ** 2`` with ``E(x) = trace(x.T @ L @ x) / N``,
    without its dense Laplacian and its loss of digits on smooth embeddings.

    .. math::
        L = \sum_l \left(\frac{E(A^s_l)}{E(B^s_l)} - \frac{E(A^t_l)}{E(B^t_l)}\right)^2, \qquad
        E(X) = \frac1N \operatorname{tr}(X^\top (D - A) X)

    with the embeddings :math:`B_l` before and :math:`A_l` after operation l. A ratio below 1 means
    that the operation smooths, as the propagation of a convolution does; a ratio above 1, that it
    sharpens, as a linear layer may. If the energy before an operation is zero, the ratio is
    undefined. The operation then counts as one that changes nothing: its ratio is 1, without a
    gradient. The widths may differ everywhere.

    Args:
        h_s: The student's embeddings before and after one operation; or a longer sequence, before
            the first operation and after each; or a sequence of pairs (before, after).
        h_t: The teacher's embeddings in the same form, for as many operations; they get no
            gradient.
        edge_index: The edges, in any format that :class:`graphkd.Graph` takes. See
            :func:`dirichlet_energy`.
        measure: The compared value: the ``"ratio"``, its ``"root"``, or its ``"log"`` (which also
            takes the ratio as 1 if the energy after is zero).
        normalized: Whether the Laplacian is the symmetrically normalised one.
        weight: Refused: a weight belongs to a row, but each value here to an operation.
        edge_weight: A weight for each edge, not negative, in the order of an ``edge_index``
            tensor; a :class:`graphkd.Graph` holds its own. It is the edge's entry of A; equal
            weights change nothing. It gets a gradient if it requires one.
        backend: ``"auto"``, ``"reference"`` or ``"chunked"``.
        chunk_size: Edges per block of the chunked backend; changes memory, not the value.

    Shapes:
        - **h_s:** :math:`([N, d_0], [N, d_1], \dots)`, or pairs of these
        - **h_t:** the same, of other widths
        - **edge_index:** :math:`[2, E]`
        - **edge_weight:** :math:`[E]`
        - **output:** scalar

    Raises:
        ValueError: If student and teacher differ in their numbers of operations or rows or in
            their devices, there is no operation, ``weight`` is given, an ``edge_weight`` is
            negative, or an option is out of range.
        TypeError: If the embeddings are not sequences of floating-point tensors, or the graph has
            no known format.
        IndexError: If an edge names a node that does not exist.

    Source: Zhou, Ding, Shi, Li and Shen, ICML 2025, arXiv 2412.11180. The authors' code first
    divides the rows by their detached norms, and by default compares the roots of the ratios: on
    such rows, ``measure="root"`` gives its value. Its energies are twice as large. If the energy
    before is zero, its ratio is e in the student and 1 in the teacher.

    Example:
        >>> import torch
        >>> from graphkd.functional import tined_loss
        >>> edge_index = torch.tensor([[0, 1], [1, 0]])
        >>> before = torch.tensor([[0.0], [2.0]])
        >>> smooth, sharp = torch.tensor([[0.5], [1.5]]), torch.tensor([[0.0], [4.0]])
        >>> tined_loss((before, sharp), (before, smooth), edge_index)    # (4 - 1/4)²
        tensor(14.0625)
    """
    loss = "tined_loss"
    check_tined_options(
        loss, measure=measure, normalized=normalized, backend=backend, chunk_size=chunk_size
    )
    refuse_weight(loss, weight, "operation")
    student, teacher = _read(loss, h_s, h_t)
    first = student[0][0]
    n = first.size(0)
    edges = resolve_edges(loss, edge_index, n, n, first.device, edge_weight)
    if edges.weight is not None:
        # Ratios of energies do not depend on the scale of the weights.
        edges = edges.weighted(edges.weight / largest_weight(edges.weight))
    with full_precision(first.device):
        sides = (
            _measures(loss, chains, edges, measure, normalized, backend, chunk_size)
            for chains in (student, teacher)
        )
        gaps = [p - q for p, q in zip(*sides, strict=True)]
        return torch.stack(gaps).square().sum().to(first.dtype)


def dirichlet_energy(
    h: Tensor,
    edge_index: Any,
    *,
    normalized: bool = False,
    edge_weight: Tensor | None = None,
    backend: str = "auto",
    chunk_size: int | None = None,
) -> Tensor:
    r"""How much embeddings vary along the edges of a graph.

    .. math::
        E(X) = \frac1N \operatorname{tr}(X^\top (D - A) X)
             = \frac1{2N} \sum_{(j, i)} w_{ji} \lVert x_i - x_j \rVert^2

    over the edges j → i, of weight w = 1 unless given. An undirected edge counts once if it is
    listed in both directions, as in PyG; a directed edge counts half. Self loops add nothing. With
    ``normalized``, :math:`x_i / \sqrt{\deg i}` replaces :math:`x_i`; the degree is half the weight
    of the edges at node i. This is
    the energy of :math:`I - D^{-1/2} A D^{-1/2}`, except that isolated nodes add nothing.

    Args:
        h: Embeddings; they get a gradient.
        edge_index: The edges, in any format that :class:`graphkd.Graph` takes.
        normalized: Whether the Laplacian is the symmetrically normalised one.
        edge_weight: A weight w for each edge, as in :func:`tined_loss`; it gets a gradient too.
        backend: ``"auto"``, ``"reference"`` or ``"chunked"``.
        chunk_size: Edges per block of the chunked backend; changes memory, not the value.

    Shapes:
        - **h:** :math:`[N, d]`
        - **edge_index:** :math:`[2, E]`
        - **edge_weight:** :math:`[E]`
        - **output:** scalar

    Raises:
        ValueError: If shapes or devices do not fit, ``edge_weight`` is negative, or an option is
            out of range.
        TypeError: If ``h`` is not a floating-point tensor, or the graph has no known format.
        IndexError: If an edge names a node that does not exist.

    Example:
        >>> import torch
        >>> from graphkd.functional import dirichlet_energy
        >>> dirichlet_energy(torch.tensor([[0.0], [2.0]]), torch.tensor([[0, 1], [1, 0]]))
        tensor(2.)
    """
    name = "dirichlet_energy"
    _check_energy_options(name, normalized, backend, chunk_size)
    check_matrix(name, "h", h)
    h = upcast(h)
    edges = resolve_edges(name, edge_index, h.size(0), h.size(0), h.device, edge_weight)
    with full_precision(h.device):
        return _energy(name, h, edges, normalized, backend, chunk_size).to(h.dtype)


def _check_energy_options(
    loss: str, normalized: bool, backend: str, chunk_size: int | None
) -> None:
    check_flag(f"{loss}: normalized", normalized)
    check_blocked_options(loss, backend=backend, chunk_size=chunk_size)


def _energy(
    loss: str, x: Tensor, edges: Edges, normalized: bool, backend: str, chunk_size: int | None
) -> Tensor:
    """The Dirichlet energy, in float64, because nearly equal ratios of energies are subtracted."""
    if normalized:
        degree = _degree(edges).to(x.dtype)
        x = x * degree.masked_fill(degree == 0, 1).rsqrt().unsqueeze(1)
    squares = exact(edge_squares(loss, x, edges, backend, chunk_size))
    if edges.weight is not None:
        squares = squares * exact(edges.weight)
    return squares.sum() / (2 * max(x.size(0), 1))


def _degree(edges: Edges) -> Tensor:
    """Half the weight of the edges at each node."""
    if edges.weight is None:
        return exact(edges.ptr.diff() + edges.src_ptr.diff()) / 2
    weight = exact(edges.weight)
    ends = (edges.dst, edges.num_dst), (edges.src, edges.num_src)
    into, out_of = (segment_sum(weight, end, count) for end, count in ends)
    return (into + out_of) / 2


def _measures(
    loss: str,
    chains: list[list[Tensor]],
    edges: Edges,
    measure: str,
    normalized: bool,
    backend: str,
    chunk_size: int | None,
) -> list[Tensor]:
    """The compared value of each operation."""
    values = []
    for chain in chains:
        energies = [_energy(loss, x, edges, normalized, backend, chunk_size) for x in chain]
        steps = range(1, len(energies))
        values += [_measure(energies[step - 1], energies[step], measure) for step in steps]
    return values


def _measure(before: Tensor, after: Tensor, measure: str) -> Tensor:
    undefined = before == 0
    if measure == "log":
        undefined = undefined | (after == 0)
    ratio = after.masked_fill(undefined, 1) / before.masked_fill(undefined, 1)
    if measure != "root":
        return ratio.log() if measure == "log" else ratio
    # The root has no finite gradient if the energy after is zero.
    zero = ratio == 0
    return ratio.masked_fill(zero, 1).sqrt().masked_fill(zero, 0)


def _read(loss: str, h_s: Any, h_t: Any) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
    """Checked, upcast chains of embeddings: one, or one for each pair."""
    sides = [_chains(loss, name, h) for name, h in (("h_s", h_s), ("h_t", h_t))]
    lengths = [[len(chain) for chain in chains] for chains in sides]
    if lengths[0] != lengths[1]:
        raise ValueError(
            f"{loss}: h_s and h_t must hold as many operations, in one form; got sequences of "
            f"{lengths[0]} and {lengths[1]} embeddings. Choose the layers that correspond."
        )
    for chain_s, chain_t in zip(*sides, strict=True):
        for place, (s, t) in enumerate(zip(chain_s, chain_t, strict=True)):
            names = f"h_s[{place}]", f"h_t[{place}]"
            chain_s[place], chain_t[place], _ = matched_rows(loss, s, t, names=names)
            rows = sides[0][0][0].size(0)
            if s.size(0) != rows:
                raise ValueError(
                    f"{loss}: all embeddings must be of the same nodes; got {rows} and "
                    f"{s.size(0)} rows. Pass layers of one graph."
                )
    return sides[0], sides[1]


def _chains(loss: str, name: str, h: Any) -> list[list[Any]]:
    wanted = "(before, after), a longer sequence of embeddings, or a sequence of such pairs"
    if not isinstance(h, (list, tuple)):
        raise TypeError(f"{loss}: {name} must be tensors {wanted}; got {describe(h)}.")
    pairs = len(h) > 0 and all(isinstance(x, (list, tuple)) and len(x) == 2 for x in h)
    chains = [list(pair) for pair in h] if pairs else [list(h)]
    if min(len(chain) for chain in chains) < 2:
        raise ValueError(
            f"{loss}: {name} must hold embeddings before and after an operation; got "
            f"{len(chains[0])} of them. Pass {wanted}."
        )
    return chains
