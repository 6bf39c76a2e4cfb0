"""Similarities along the edges of a graph: LSP."""

from typing import Any

from torch import Tensor

from graphkd._checks import check_choice, check_count
from graphkd._precision import full_precision, traced
from graphkd.distributed import ALL_RANKS, check_group, meet, refuse, reporting
from graphkd.functional._bandwidth import (
    MOST_ROWS,
    bandwidth,
    edge_lengths,
    edge_median,
    warn_if_saturated,
)
from graphkd.functional._precomputed import LSPTeacher
from graphkd.functional._rows import check_reduction, reduce_rows, resolve_index, select_rows
from graphkd.functional.neighbours._sides import (
    Embeddings,
    Sides,
    counted_lengths,
    edges_into,
    read_sides,
)
from graphkd.graph import Edges, resolve_edges
from graphkd.ops import (
    check_backend,
    chunked,
    pick_backend,
    reference,
    scatter,
    segments,
    triton_programs,
)
from graphkd.ops.edge_divergence import edge_divergence, edge_divergence_once
from graphkd.similarity import Gamma, Kernel, KernelFunction, resolve_kernel

DIVERGENCES = ("kl", "mse")
_BACKENDS = ("reference", "chunked", "triton", "scatter")


def check_lsp_options(
    loss: str,
    *,
    kernel: str | KernelFunction,
    gamma: Gamma,
    divergence: str,
    reduction: str,
    backend: str,
    chunk_size: int | None,
    process_group: Any,
    ddp: bool,
) -> Kernel | KernelFunction:
    """Raise on an option of LSP that is out of range; give the kernel."""
    check_choice(f"{loss}: divergence", divergence, DIVERGENCES)
    check_reduction(loss, reduction)
    spec = resolve_kernel(loss, kernel, gamma)
    check_kernel_backend(loss, spec, backend, _BACKENDS)
    if chunk_size is not None:
        check_count(f"{loss}: chunk_size", chunk_size, least=1)
    check_group(loss, process_group, ddp)
    refuse(loss, process_group, **{"reduction='none'": (reduction == "none", ALL_RANKS)})
    return spec


def check_kernel_backend(
    loss: str, kernel: Kernel | KernelFunction, backend: str, available: tuple[str, ...]
) -> None:
    """Raise unless the loss has this backend, and the backend this kernel."""
    check_backend(loss, backend, available)
    if not isinstance(kernel, Kernel) and backend not in ("auto", "reference"):
        raise ValueError(
            f"{loss}: a callable kernel runs on the reference backend only; got "
            f"backend={backend!r}. Pass backend='auto' or 'reference'."
        )


def lsp_loss(
    h_s: Embeddings,
    h_t: Embeddings | LSPTeacher,
    edge_index: Any,
    *,
    kernel: str | KernelFunction = "cosine",
    gamma: Gamma = 0.5,
    divergence: str = "kl",
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
        p_{ij} = \frac{\exp k(h_j, h_i)}{\sum_{l \to i} \exp k(h_l, h_i)}, \qquad
        L = \frac1{|V|} \sum_{i \in V} \mathrm{KL}(p^t_i \,\Vert\, p^s_i)

    with V the (selected) centres that have a neighbour. A centre without one has the value 0. The
    widths may differ. Kernels: ``"linear"`` :math:`x \cdot y`, ``"cosine"``, ``"poly"`` its
    square, ``"l2"`` :math:`\lVert x - y\rVert` (the paper's: as a distance it gives far neighbours
    more weight), ``"rbf"`` :math:`e^{-\gamma\lVert x - y\rVert^2}`.

    Args:
        h_s: Student embeddings, or a pair (sources, targets) for a bipartite graph.
        h_t: Teacher embeddings in the same form, which get no gradient; or what
            :func:`precompute_lsp` made of them.
        edge_index: Edges j → i in any format that :class:`graphkd.Graph` takes, or a Graph.
            Duplicate edges and self loops count as often as they occur.
        kernel: A kernel's name, or a function of two tensors :math:`[E, d]` that returns
            :math:`[E]`.
        gamma: The rbf bandwidth, or ``"median"``: 1/(2m²) for the median length m of the edges
            (self loops left out), for student and teacher separately.
        divergence: ``"kl"``, or ``"mse"`` for :math:`\sum_j (p^t_{ij} - p^s_{ij})^2`.
        index: Boolean mask or row numbers of the centres; their neighbours are not restricted.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value per selected centre).
        backend: ``"auto"``, ``"reference"``, ``"chunked"``, ``"triton"`` (for GPUs) or
            ``"scatter"`` (torch_scatter).
        chunk_size: Edges per block of the chunked backend; changes memory, not the value.
        process_group: A ``torch.distributed`` group: V is then the (selected) centres of all its
            ranks, and each rank gets that value. A rank passes its own and its halo nodes with the
            edges into its own, which ``index`` selects. See :doc:`/distributed`.
        ddp: With a group of W ranks: True delivers W times this rank's gradient, which
            DistributedDataParallel divides by W; False the gradient itself.

    Shapes:
        - **h_s:** :math:`[N, d_s]` or :math:`([N_{src}, d_s], [N_{dst}, d_s])`
        - **h_t:** :math:`[N, d_t]` or :math:`([N_{src}, d_t], [N_{dst}, d_t])`
        - **edge_index:** :math:`[2, E]`
        - **output:** scalar, or one value per (selected) centre for ``reduction="none"``

    Raises:
        ValueError: If row counts or devices differ, shapes are wrong, or an option is out of
            range.
        TypeError: If embeddings are not floating-point tensors or the graph has no known format.
        IndexError: If an edge or ``index`` names a node that does not exist.
        ImportError: If the backend's package, torch_scatter or triton, is not installed.

    Source: Yang et al., CVPR 2020, arXiv 2003.10477. The code of Joshi et al., 2022, averages over
    the E edges: its values, kl and mse, are the sum of this one divided by E. It also restricts
    neighbours to the training nodes, by ``torch_geometric.utils.subgraph``.

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
    # What can fail comes before the ranks meet.
    with reporting(process_group):
        spec = check_lsp_options(
            loss,
            kernel=kernel,
            gamma=gamma,
            divergence=divergence,
            reduction=reduction,
            backend=backend,
            chunk_size=chunk_size,
            process_group=process_group,
            ddp=ddp,
        )
        prepared = h_t if isinstance(h_t, LSPTeacher) else None
        given = prepared is not None
        refuse(loss, process_group, **{"a precomputed teacher": (given, "Pass h_t itself.")})
        if isinstance(h_t, LSPTeacher):
            h_t.check(loss, spec, gamma, index)
            h_t = h_t.h
        student, teacher, bipartite = read_sides(loss, h_s, h_t)
        src, centres = student
        chosen = resolve_index(loss, index, centres)
        every = resolve_edges(loss, edge_index, src.size(0), centres.size(0), centres.device)
        counted = (select_rows(loss, every.ptr.diff(), chosen) > 0).sum()
        active = edges_into(every, chosen)
        # While something is traced, shapes must not depend on values: all edges stay.
        edges = every if chosen is None or traced() else every.only(active)
        counts = counted_lengths(edges, active if traced() else None, bipartite)
        callable_kernel = not isinstance(spec, Kernel)
        backend = pick_backend(loss, backend, src, reference=callable_kernel, chunk_size=chunk_size)
    ranks = None
    if process_group is not None:
        ranks = meet(
            loss,
            process_group,
            rows=[centres.size(0)],
            student_width=src.size(1),
            teacher_width=teacher.src.size(1),
            dtype=centres.dtype,
            kernel="a callable" if callable_kernel else kernel,
            gamma=gamma,
            divergence=divergence,
            reduction=reduction,
        )
    with full_precision(centres.device):

        def median(x: Sides, most: int | None = None) -> Tensor:
            few = slice(most)
            some = edges._replace(src=edges.src[few], dst=edges.dst[few])
            if ranks is None or most is not None:
                return edge_median(*x, some, counts[few])
            return ranks.median(edge_lengths(*x, some)[counts[few]])

        def similarities(x: Sides) -> Tensor:
            width = bandwidth(spec, gamma, x.src, lambda: median(x))
            return edge_values(x, edges, spec, width, backend, chunk_size)

        wide = teacher.src.size(1)
        warn_if_saturated(loss, spec, gamma, wide, lambda: median(teacher, MOST_ROWS))
        student_values = similarities(student)
        if prepared is None:
            teacher_values = similarities(teacher)
        else:
            teacher_values = prepared.values_for(loss, every).to(centres.dtype)
            if edges is not every:
                teacher_values = teacher_values[active]
        args = student_values, teacher_values, edges.dst, edges.num_dst, divergence
        if backend in ("chunked", "triton"):
            values = edge_divergence_once(*args)
        else:
            values = edge_divergence(*args, scatter if backend == "scatter" else segments)
        values = select_rows(loss, values, chosen)
        if ranks is None:
            return reduce_rows(values, reduction, counted)
        # Its module loads torch's compiler.
        from graphkd.functional._ranked import ranked_sum

        return ranked_sum(values, counted, reduction, ranks, ddp)


def edge_values(
    x: Sides,
    edges: Edges,
    kernel: Kernel | KernelFunction,
    gamma: Tensor,
    backend: str,
    chunk_size: int | None,
) -> Tensor:
    """The kernel's value on every edge, by the backend."""
    if isinstance(kernel, Kernel) and backend == "triton":
        values: Tensor = triton_programs().edge_similarity(*x, edges, kernel, gamma)
        return values
    if isinstance(kernel, Kernel) and backend != "reference":
        return chunked.edge_similarity(*x, edges, kernel, gamma, chunk_size)
    return reference.edge_similarity(*x, edges, kernel, gamma, loss="lsp_loss")
