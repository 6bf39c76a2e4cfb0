"""The teacher's side of a loss, to be computed once."""

from typing import Any

import torch
from torch import Tensor

from graphkd._checks import check_matrix
from graphkd._precision import full_precision, upcast
from graphkd.functional._bandwidth import bandwidth, edge_median
from graphkd.functional._precomputed import GlobalLSPTeacher, LSPTeacher, lasting
from graphkd.functional._rows import resolve_index, select_rows
from graphkd.functional.neighbours._sides import Embeddings, counted_lengths, edges_into, read_sides
from graphkd.functional.neighbours.lsp import edge_values
from graphkd.graph import resolve_edges
from graphkd.ops import chunked, pick_backend
from graphkd.similarity import DEFAULT_GAMMA, Gamma, Kernel, resolve_kernel


def precompute_global_lsp(
    h_t: Tensor, *, kernel: str = "cosine", index: Tensor | None = None
) -> GlobalLSPTeacher:
    r"""The teacher's side of :func:`global_lsp_loss`, to be passed to it in the place of ``h_t``.

    It is the Gram matrix :math:`T^\top T` of the (normalised) teacher rows: one of the three
    products of the loss's forward pass. It serves where that takes moments: N > 4d, no
    ``chunk_size``, and a scalar. The loss then has to be called with the same kernel and index.

    Args:
        h_t: Teacher embeddings. The loss refuses to be called after they changed in place.
        kernel: ``"cosine"`` or ``"linear"``; the others have nothing to reuse.
        index: Boolean mask or row numbers of the rows that take part.

    Shapes:
        - **h_t:** :math:`[N, d_t]`

    Raises:
        ValueError: If the kernel has nothing to reuse, or ``h_t`` is not two-dimensional.
        TypeError: If ``h_t`` is not a floating-point tensor.
        IndexError: If ``index`` names a row that does not exist.

    Example:
        >>> import torch
        >>> from graphkd.functional import global_lsp_loss, precompute_global_lsp
        >>> teacher = precompute_global_lsp(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> global_lsp_loss(torch.ones(2, 3), teacher)
        tensor(0.5000)
    """
    loss = "precompute_global_lsp"
    spec = resolve_kernel(loss, kernel, DEFAULT_GAMMA)
    if not isinstance(spec, Kernel) or not spec.inner:
        raise ValueError(
            f"{loss}: kernel must be 'cosine' or 'linear'; got {kernel!r}, of which nothing can be "
            "reused. Pass h_t itself to the loss."
        )
    check_matrix(loss, "h_t", h_t)
    with torch.no_grad(), torch.inference_mode(False):
        h_t = lasting(h_t)
        h = select_rows(loss, h_t, resolve_index(loss, index, h_t))
        with full_precision(h.device):
            gram = chunked.teacher_gram(upcast(h), spec.unit)
        return GlobalLSPTeacher(h_t, spec, index, h, gram)


def precompute_lsp(
    h_t: Embeddings,
    edge_index: Any,
    *,
    kernel: str = "cosine",
    gamma: Gamma = 0.5,
    index: Tensor | None = None,
) -> LSPTeacher:
    r"""The teacher's side of :func:`lsp_loss`, to be passed to it in the place of ``h_t``.

    It is the kernel's value on every edge, of which the teacher's distributions are the softmax: a
    quarter of the loss's forward pass or more. The loss then has to be called with the same graph,
    kernel, gamma and index; another graph is refused.

    Args:
        h_t: Teacher embeddings, or a pair (sources, targets). The loss refuses to be called after
            they changed in place.
        edge_index: The graph, in any format that :func:`lsp_loss` takes.
        kernel: A kernel's name.
        gamma: The rbf bandwidth, or ``"median"``.
        index: Boolean mask or row numbers of the centres.

    Shapes:
        - **h_t:** :math:`[N, d_t]` or :math:`([N_{src}, d_t], [N_{dst}, d_t])`
        - **edge_index:** :math:`[2, E]`

    Raises:
        ValueError: If shapes are wrong, or an option is out of range.
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
    pair = isinstance(h_t, tuple | list)
    named: Any = zip(("h_t src", "h_t dst"), h_t, strict=True) if pair else [("h_t", h_t)]
    with torch.no_grad(), torch.inference_mode(False):
        rows: tuple[Tensor, ...] = ()
        for name, h in named:
            check_matrix(loss, name, h)
            rows += (lasting(h),)
        # The teacher stands in for the student in the checks.
        side = rows if pair else rows[0]
        x, _, _ = read_sides(loss, side, side)
        with full_precision(x.dst.device):
            edges = resolve_edges(loss, edge_index, x.src.size(0), x.dst.size(0), x.dst.device)
            active = edges_into(edges, resolve_index(loss, index, x.dst))
            counts = counted_lengths(edges, active, pair)
            width = bandwidth(spec, gamma, x.src, lambda: edge_median(*x, edges, counts))
            backend = pick_backend(loss, "auto", x.src)
            values = edge_values(x, edges, spec, width, backend, None)
        return LSPTeacher(rows, spec, gamma, index, edges, values)
