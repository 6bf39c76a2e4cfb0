"""Similarities along the edges of a graph: LSP.

The plain form of the formula is ``edge_divergence`` in ``ops/reference/edge_divergence.py``.
"""

from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from graphkd._checks import check_choice, check_devices, check_matrix
from graphkd._precision import full_precision, traced
from graphkd.distributed import ALL_RANKS, check_group, meet, refuse, reporting
from graphkd.functional._bandwidth import (
    MOST_ROWS,
    bandwidth,
    edge_lengths,
    edge_median,
    warn_if_saturated,
)
from graphkd.functional._options import check_blocked_options, check_kernel_backend
from graphkd.functional._precomputed import LSPTeacher, lasting
from graphkd.functional._rows import (
    matched_rows,
    reduce_rows,
    resolve_index,
    row_weights,
    select_rows,
)
from graphkd.functional.neighbours._edges import edges_into
from graphkd.graph import Edges, resolve_edges
from graphkd.ops.backends import pick_backend
from graphkd.ops.primitives import edge_divergence, edge_similarity
from graphkd.ops.segments import segment_max
from graphkd.similarity import Gamma, Kernel, KernelFunction, resolve_kernel

DIVERGENCES = ("kl", "mse")
BACKENDS = ("reference", "chunked", "triton", "scatter")

Embeddings: TypeAlias = Tensor | tuple[Tensor, Tensor]


class LSPOptions(NamedTuple):
    """The options of LSP as one value."""

    kernel: str | KernelFunction = "cosine"
    gamma: Gamma = 0.5
    divergence: str = "kl"
    reduction: str = "mean"
    backend: str = "auto"
    chunk_size: int | None = None
    process_group: Any = None
    ddp: bool = True

    def check(self, loss: str) -> Kernel | KernelFunction:
        """Raise on an option that is out of range; return the kernel."""
        check_choice(f"{loss}: divergence", self.divergence, DIVERGENCES)
        spec = resolve_kernel(loss, self.kernel, self.gamma)
        check_blocked_options(
            loss,
            reduction=self.reduction,
            backend=self.backend,
            chunk_size=self.chunk_size,
            backends=BACKENDS,
        )
        check_kernel_backend(loss, spec, self.backend)
        check_group(loss, self.process_group, self.ddp)
        no_rows = {"reduction='none'": (self.reduction == "none", ALL_RANKS)}
        refuse(loss, self.process_group, **no_rows)
        return spec


def check_lsp_options(loss: str, **options: Any) -> None:
    """Raise on an option of LSP that is out of range."""
    LSPOptions(**options).check(loss)


def lsp_loss(
    h_s: Embeddings,
    h_t: Embeddings | LSPTeacher,
    edge_index: Any,
    *,
    kernel: str | KernelFunction = "cosine",
    gamma: Gamma = 0.5,
    divergence: str = "kl",
    weight: Tensor | None = None,
    edge_weight: Tensor | None = None,
    index: Tensor | None = None,
    reduction: str = "mean",
    backend: str = "auto",
    chunk_size: int | None = None,
    process_group: Any = None,
    ddp: bool = True,
) -> Tensor:
    r"""Local structure preserving loss: how each node's similarity spreads over its neighbours.

    Replaces ``F.kl_div(log_softmax(k(h_s[j], h_s[i]), i), softmax(k(h_t[j], h_t[i]), i))`` over
    the edges j → i, without its :math:`E \times d` gathers and its loss of digits.

    .. math::
        p_{ij} = \frac{w_{ij} \exp k(h_j, h_i)}{\sum_{l \to i} w_{il} \exp k(h_l, h_i)}, \qquad
        L = \frac1{|V|} \sum_{i \in V} \mathrm{KL}(p^t_i \,\Vert\, p^s_i)

    with V the (selected) centres that have a neighbour, and edge weights w of 1 unless given. A
    centre without a neighbour has the value 0. The widths may differ. Kernels: ``"linear"``
    :math:`x \cdot y`; ``"cosine"``; ``"poly"``, the square of the cosine; ``"l2"``
    :math:`\lVert x - y\rVert`, as in the paper, a distance, which gives far neighbours more
    weight; ``"rbf"`` :math:`e^{-\gamma\lVert x - y\rVert^2}`.

    Args:
        h_s: Student embeddings, or a pair (sources, targets) for a bipartite graph.
        h_t: Teacher embeddings in the same form, which get no gradient; or the result of
            :func:`precompute_lsp`.
        edge_index: Edges j → i in any format that :class:`graphkd.Graph` takes, or a Graph.
            Duplicate edges and self loops count as often as they occur.
        kernel: A kernel's name, or a function of two tensors :math:`[E, d]` that returns
            :math:`[E]`.
        gamma: The rbf bandwidth, or ``"median"``: 1/(2m²) for the median length m of the edges
            (without self loops), for student and teacher separately.
        divergence: ``"kl"``, or ``"mse"`` for :math:`\sum_j (p^t_{ij} - p^s_{ij})^2`.
        weight: A weight for each centre, not negative, before ``index``. The mean divides by the
            weights of the centres that have a neighbour. It gets a gradient if it requires one.
        edge_weight: A weight w for each edge, not negative, in the order of an ``edge_index``
            tensor; a :class:`graphkd.Graph` holds its own. Both models have the same. An edge of
            weight 0 is none, also for ``gamma="median"``; equal weights change nothing. It gets a
            gradient if it requires one.
        index: Boolean mask or row numbers of the centres; their neighbours are not restricted.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value per selected centre).
        backend: ``"auto"``, ``"reference"``, ``"chunked"``, ``"triton"`` (for GPUs) or
            ``"scatter"`` (torch_scatter).
        chunk_size: Edges per block of the chunked backend; changes memory, not the value.
        process_group: A ``torch.distributed`` group: V then holds the (selected) centres of all its
            ranks, and each rank gets the same value. A rank passes its own nodes, its halo nodes
            and the edges into its own nodes; ``index`` selects these. See :doc:`/distributed`.
        ddp: With a group of W ranks: True gives W times this rank's gradient, which
            DistributedDataParallel divides by W; False gives the gradient itself.

    Shapes:
        - **h_s:** :math:`[N, d_s]` or :math:`([N_{src}, d_s], [N_{dst}, d_s])`
        - **h_t:** :math:`[N, d_t]` or :math:`([N_{src}, d_t], [N_{dst}, d_t])`
        - **edge_index:** :math:`[2, E]`
        - **weight:** :math:`[N_{dst}]`
        - **edge_weight:** :math:`[E]`
        - **output:** scalar, or one value per (selected) centre for ``reduction="none"``

    Raises:
        ValueError: If row counts or devices differ, shapes are wrong, a weight is negative,
            ``edge_weight`` comes with a Graph or a sparse ``adj_t``, or an option is out of range.
        TypeError: If embeddings are not floating-point tensors or the graph has no known format.
        IndexError: If an edge or ``index`` names a node that does not exist.
        ImportError: If the backend's package, torch_scatter or triton, is not installed.

    Source: Yang et al., CVPR 2020, arXiv 2003.10477. The code of Joshi et al., 2022, averages over
    the E edges: its kl and mse are the sum of this loss divided by E. It also restricts neighbours
    to the training nodes, by ``torch_geometric.utils.subgraph``.

    Example:
        >>> import torch
        >>> from graphkd.functional import lsp_loss
        >>> h_t = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> h_s = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
        >>> edge_index = torch.tensor([[1, 2], [0, 0]])     # the neighbours 1 and 2 of node 0
        >>> lsp_loss(h_s, h_t, edge_index)
        tensor(0.1109)
    """
    loss = "lsp_loss"
    how = LSPOptions(kernel, gamma, divergence, reduction, backend, chunk_size, process_group, ddp)
    # Every check that can fail comes before the ranks meet.
    with reporting(process_group):
        spec = how.check(loss)
        prepared = h_t if isinstance(h_t, LSPTeacher) else None
        given = prepared is not None
        refuse(loss, process_group, **{"a precomputed teacher": (given, "Pass h_t itself.")})
        if isinstance(h_t, LSPTeacher):
            h_t.check(loss, spec, gamma, index)
            h_t = h_t.h
        student, teacher, bipartite = _read_sides(loss, h_s, h_t)
        src, centres = student
        chosen = resolve_index(loss, index, centres)
        sizes = src.size(0), centres.size(0)
        every = resolve_edges(loss, edge_index, *sizes, centres.device, edge_weight)
        counted = select_rows(loss, _has_neighbour(every), chosen)
        weight = row_weights(loss, weight, centres, chosen)
        active = edges_into(every, chosen)
        # Under tracing, shapes must not depend on values: all edges stay.
        edges = every if chosen is None or traced() else every.only(active)
        counts = _counted_lengths(edges, active if traced() else None, bipartite)
        available = BACKENDS if isinstance(spec, Kernel) else ("reference",)
        backend = pick_backend(loss, backend, src, available, chunk_size=chunk_size)
    ranks = None
    if process_group is not None:
        ranks = meet(
            loss,
            process_group,
            rows=[centres.size(0)],
            student_width=src.size(1),
            teacher_width=teacher.src.size(1),
            dtype=centres.dtype,
            kernel=kernel if isinstance(kernel, str) else "a callable",
            gamma=gamma,
            divergence=divergence,
            reduction=reduction,
        )
    with full_precision(centres.device):

        def median(side: Sides, few: slice) -> Tensor:
            # Written out: torch 2.6 compiles neither _replace nor a slice of a named tuple.
            kept = edges.num_src, edges.num_dst, edges.ptr, edges.order, edges.src_ptr
            some = Edges(edges.src[few], edges.dst[few], *kept)
            if ranks is None or few.stop is not None:
                return edge_median(*side, some, counts[few])
            return ranks.median(edge_lengths(*side, some)[counts[few]])

        def similarities(side: Sides) -> Tensor:
            width = bandwidth(spec, gamma, side.src, lambda: median(side, slice(None)))
            blocks = backend, chunk_size
            return edge_similarity(loss, *side, edges, spec, width, *blocks, relative=True)

        wide = teacher.src.size(1)
        warn_if_saturated(loss, spec, gamma, wide, lambda: median(teacher, slice(MOST_ROWS)))
        student_values = similarities(student)
        if prepared is None:
            teacher_values = similarities(teacher)
        else:
            teacher_values = prepared.values_for(loss, every).to(centres.dtype)
            if edges is not every:
                teacher_values = teacher_values[active]
        rows = edge_divergence(loss, student_values, teacher_values, edges, divergence, backend)
        rows = select_rows(loss, rows, chosen)
        if ranks is None:
            return reduce_rows(rows, reduction, weight, counted)
        # Imported here, because its module loads torch's compiler.
        from graphkd.functional._ranked import ranked_sum

        return ranked_sum(rows, weight, counted, reduction, ranks, ddp)


class Sides(NamedTuple):
    """The rows of one model at which edges start, and the rows at which they end."""

    src: Tensor
    dst: Tensor


def _read_sides(loss: str, h_s: Any, h_t: Any) -> tuple[Sides, Sides, bool]:
    """Student and teacher as checked, upcast pairs of sources and targets."""
    pairs = [isinstance(h, (tuple, list)) for h in (h_s, h_t)]
    if pairs[0] != pairs[1]:
        raise TypeError(
            f"{loss}: h_s and h_t must both be tensors, or both (sources, targets) pairs; got "
            f"{type(h_s).__name__} and {type(h_t).__name__}."
        )
    if not pairs[0]:
        s, t, _ = matched_rows(loss, h_s, h_t)
        return Sides(s, s), Sides(t, t), False
    if len(h_s) != 2 or len(h_t) != 2:
        raise ValueError(
            f"{loss}: a bipartite input is a pair (sources, targets); got {len(h_s)} and "
            f"{len(h_t)} tensors."
        )
    (s_src, t_src, _), (s_dst, t_dst, _) = (
        matched_rows(loss, s, t, names=(f"h_s {end}", f"h_t {end}"))
        for end, s, t in zip(("src", "dst"), h_s, h_t, strict=True)
    )
    for name, (src, dst) in {"h_s": h_s, "h_t": h_t}.items():
        check_devices(loss, sources=src, targets=dst)
        if src.size(1) != dst.size(1):
            raise ValueError(
                f"{loss}: sources and targets of {name} are compared with one another and must "
                f"have the same width; got {tuple(src.shape)} and {tuple(dst.shape)}."
            )
    dtype = torch.promote_types(s_src.dtype, s_dst.dtype)
    return Sides(s_src.to(dtype), s_dst.to(dtype)), Sides(t_src.to(dtype), t_dst.to(dtype)), True


def _has_neighbour(edges: Edges) -> Tensor:
    """A mask of the centres with an edge, of a weight above 0 if edges have weights."""
    if edges.weight is None:
        return edges.ptr.diff() > 0
    return segment_max(edges.weight, edges.dst, edges.num_dst) > 0


def _counted_lengths(edges: Edges, active: Tensor | None, bipartite: bool) -> Tensor:
    """A mask of the edges of a median length: edges into chosen centres, without self loops."""
    counts = torch.ones_like(edges.dst, dtype=torch.bool) if active is None else active
    if edges.weight is not None:
        counts = counts & (edges.weight > 0)
    return counts if bipartite else counts & (edges.src != edges.dst)


def precompute_lsp(
    h_t: Embeddings,
    edge_index: Any,
    *,
    kernel: str = "cosine",
    gamma: Gamma = 0.5,
    edge_weight: Tensor | None = None,
    index: Tensor | None = None,
) -> LSPTeacher:
    r"""The teacher's side of :func:`lsp_loss`; pass it to the loss instead of ``h_t``.

    It is the kernel's value on every edge; the teacher's distributions are the softmax of these
    values. They take a quarter of the loss's forward pass or more. Call the loss with the same
    graph, kernel, gamma and index; another graph raises an error.

    Args:
        h_t: Teacher embeddings, or a pair (sources, targets). If they change in place later, the
            loss raises an error.
        edge_index: The graph, in any format that :func:`lsp_loss` takes.
        kernel: A kernel's name.
        gamma: The rbf bandwidth, or ``"median"``.
        edge_weight: The loss's weights of the edges. Here they matter for ``gamma="median"`` only,
            of which edges of weight 0 are no part: the loss then refuses others.
        index: Boolean mask or row numbers of the centres.

    Shapes:
        - **h_t:** :math:`[N, d_t]` or :math:`([N_{src}, d_t], [N_{dst}, d_t])`
        - **edge_index:** :math:`[2, E]`
        - **edge_weight:** :math:`[E]`

    Raises:
        ValueError: If shapes are wrong, ``edge_weight`` is negative, or an option is out of range.
        TypeError: If embeddings are not floating-point tensors or the graph has no known format.
        IndexError: If an edge or ``index`` names a node that does not exist.

    Example:
        >>> import torch
        >>> from graphkd.functional import lsp_loss, precompute_lsp
        >>> edge_index = torch.tensor([[1, 2], [0, 0]])
        >>> h_t = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> teacher = precompute_lsp(h_t, edge_index)
        >>> lsp_loss(torch.tensor([[1.0, 0.0]] * 3), teacher, edge_index)
        tensor(0.1109)
    """
    loss = "precompute_lsp"
    spec = resolve_kernel(loss, kernel, gamma)
    if not isinstance(spec, Kernel):
        raise ValueError(f"{loss}: kernel must be a kernel's name; got a callable.")
    pair = isinstance(h_t, (tuple, list))
    named: Any = zip(("h_t src", "h_t dst"), h_t, strict=True) if pair else [("h_t", h_t)]
    with torch.no_grad(), torch.inference_mode(False):
        rows: tuple[Tensor, ...] = ()
        for name, h in named:
            check_matrix(loss, name, h)
            rows += (lasting(h),)
        # The teacher stands in for the student in the checks.
        side = rows if pair else rows[0]
        x, _, _ = _read_sides(loss, side, side)
        with full_precision(x.dst.device):
            sizes = x.src.size(0), x.dst.size(0)
            edges = resolve_edges(loss, edge_index, *sizes, x.dst.device, edge_weight)
            active = edges_into(edges, resolve_index(loss, index, x.dst))
            counts = _counted_lengths(edges, active, pair)
            width = bandwidth(spec, gamma, x.src, lambda: edge_median(*x, edges, counts))
            values = edge_similarity(loss, *x, edges, spec, width, "auto", None, relative=True)
        return LSPTeacher(rows, spec, gamma, index, edges, values)
