"""Similarities over all pairs of nodes: Global LSP, the paper's GSP."""

from typing import Any

import torch
from torch import Tensor

from graphkd._checks import check_matrix
from graphkd._precision import full_precision, upcast
from graphkd.distributed import refuse, reporting
from graphkd.functional._bandwidth import MOST_ROWS, bandwidth, pair_median, warn_if_saturated
from graphkd.functional._options import PairOptions, check_kernel_backend
from graphkd.functional._precomputed import GlobalLSPTeacher, lasting
from graphkd.functional._rows import (
    matched_rows,
    reduce_rows,
    resolve_index,
    row_weights,
    sample_rows,
    sample_weights,
    select_rows,
    weigh,
)
from graphkd.ops.backends import RELATIVE, check_backend, mean_of
from graphkd.ops.chunked import teacher_gram
from graphkd.ops.primitives import mean_pairwise_gap, moments_serve, pairwise_gap
from graphkd.ops.reference import diagonal_gap
from graphkd.similarity import DEFAULT_GAMMA, Gamma, Kernel, KernelFunction, resolve_kernel


def check_global_lsp_options(
    loss: str, *, kernel: str | KernelFunction, gamma: Gamma, **pairs: Any
) -> Kernel | KernelFunction:
    """Raise on an option of Global LSP that is out of range; return the kernel."""
    how = PairOptions(**pairs)
    spec = resolve_kernel(loss, kernel, gamma)
    check_backend(loss, how.backend, RELATIVE)
    check_kernel_backend(loss, spec, how.backend)
    if how.precision != "float32" and kernel != "poly":
        raise ValueError(
            f"{loss}: precision={how.precision!r} belongs to kernel='poly'; got kernel={kernel!r}. "
            "Moments are cheap in full precision, and distances need it. Leave it at 'float32'."
        )
    how.check(loss)
    by_name = {"a callable kernel": (not isinstance(spec, Kernel), "Pass a kernel's name.")}
    refuse(loss, how.process_group, **by_name)
    return spec


def global_lsp_loss(
    h_s: Tensor,
    h_t: Tensor | GlobalLSPTeacher,
    *,
    kernel: str | KernelFunction = "cosine",
    gamma: Gamma = 0.5,
    weight: Tensor | None = None,
    index: Tensor | None = None,
    max_samples: int | None = None,
    generator: torch.Generator | None = None,
    reduction: str = "mean",
    backend: str = "auto",
    chunk_size: int | None = None,
    precision: str = "float32",
    process_group: Any = None,
    ddp: bool = True,
) -> Tensor:
    r"""Global structure preserving loss: mean squared difference of all pairwise similarities.

    Replaces ``F.mse_loss(k(h_s, h_s), k(h_t, h_t))``, exactly and without the :math:`N \times N`
    matrices.

    .. math:: L = \frac1{N^2} \sum_{i,j} \left(k(h^s_i, h^s_j) - k(h^t_i, h^t_j)\right)^2

    All ordered pairs count, the diagonal included. The widths may differ, and no head is needed.
    The kernels are the same as in :func:`lsp_loss`. With ``"cosine"`` and ``"linear"`` the cost is
    :math:`O(N d^2)`, with the others :math:`O(N^2 d)`; memory is linear in N.

    Args:
        h_s: Student embeddings.
        h_t: Teacher embeddings, which get no gradient; or the result of
            :func:`precompute_global_lsp`.
        kernel: A kernel's name, or a function of two broadcastable tensors :math:`[\dots, d]` that
            returns :math:`[\dots]` (which needs :math:`N \times N \times d` memory).
        gamma: The rbf bandwidth, or ``"median"``: 1/(2m²) for the median distance m of the pairs
            i < j of at most 1,024 rows, for student and teacher separately.
        weight: A weight for each row i, not negative, before ``index``; it does not weigh the
            partners of i. The mean divides by the weights' sum. It gets a gradient if it requires
            one.
        index: Boolean mask or row numbers of the rows that take part.
        max_samples: Draw at most this many rows in each call, without replacement; the value is
            corrected to an unbiased estimate of the loss on all rows.
        generator: Source of randomness for ``max_samples`` and the median; default: torch's
            global one.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each row's mean over all j).
        backend: ``"auto"``, ``"reference"`` (dense), ``"chunked"`` (linear memory) or ``"triton"``
            (for GPUs).
        chunk_size: Side of the chunked backend's square tiles; changes memory, not the value. With
            ``"cosine"`` and ``"linear"``, it asks for tiles instead of d × d moments.
        precision: Precision of the triton backend's products with ``kernel="poly"``:
            ``"float32"``, ``"tf32"`` or ``"bf16"``.
        process_group: A ``torch.distributed`` group: the loss is then over the rows of all its
            ranks, and each rank gets its value. See :doc:`/distributed`.
        ddp: With a group of W ranks: True gives W times this rank's gradient, which
            DistributedDataParallel divides by W; False gives the gradient itself.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **weight:** :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If row counts or devices differ, an input is not two-dimensional, ``weight`` is
            negative, or an option is out of range.
        TypeError: If an input is not a floating-point tensor.
        IndexError: If ``index`` names a row that does not exist.
        ImportError: If ``backend="triton"`` and triton is not installed.

    Source: the global structure preserving loss (GSP) of Joshi et al., TNNLS 2022, arXiv
    2111.04964, with the same value. The authors sample 8,192 rows without a correction and project
    both sides by heads that learn. That has a trivial optimum: both sides collapse to a point.

    Example:
        >>> import torch
        >>> from graphkd.functional import global_lsp_loss
        >>> h_t = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> global_lsp_loss(torch.ones(2, 3), h_t)     # two of the four cosines are off by 1
        tensor(0.5000)
    """
    loss = "global_lsp_loss"
    how = PairOptions(max_samples, reduction, backend, chunk_size, precision, process_group, ddp)
    with reporting(process_group):
        spec = check_global_lsp_options(loss, kernel=kernel, gamma=gamma, **how.by_name())
    if process_group is not None and isinstance(spec, Kernel):
        # Imported here, because its decorator loads torch's compiler.
        from graphkd.functional.pairs._ranked import ranked_global_lsp

        given = gamma, weight, index, generator
        value: Tensor = ranked_global_lsp(h_s, h_t, spec, *given, how)
        return value
    teacher: GlobalLSPTeacher | None = None
    if isinstance(h_t, GlobalLSPTeacher):
        teacher = h_t
        teacher.check(loss, spec, gamma, index)
        if max_samples is not None:
            raise ValueError(
                f"{loss}: a precomputed teacher is that of all its rows; got max_samples="
                f"{max_samples}. Pass h_t itself, or leave max_samples out."
            )
        check_matrix(loss, "h_s", h_s)
        chosen = resolve_index(loss, index, h_s)
        weight = row_weights(loss, weight, h_s, chosen)
        h_s, h_t, index = select_rows(loss, h_s, chosen), teacher.h, None
    s, t, chosen = matched_rows(loss, h_s, h_t, index)
    weight, n = row_weights(loss, weight, h_s, chosen), s.size(0)
    with full_precision(s.device):
        sample = sample_rows(n, max_samples, generator, s.device)
        s, t = select_rows(loss, s, sample), select_rows(loss, t, sample)
        few = sample_rows(s.size(0), MOST_ROWS, generator, s.device) if gamma == "median" else None

        def width(h: Tensor) -> Tensor:
            return bandwidth(spec, gamma, h, lambda: pair_median(select_rows(loss, h, few)))

        gammas = width(s), width(t)
        warn_if_saturated(loss, spec, gamma, t.size(1), lambda: pair_median(t[:32]))
        args = loss, s, t, spec, gammas, backend, chunk_size
        if reduction == "none" or weight is not None:
            moments = moments_serve(spec, s, t)
            rows = pairwise_gap(*args, moments=moments, precision=precision)
            if sample is None:
                return reduce_rows(rows, reduction, weight)
            weight = sample_weights(weight, reduction, sample)
            mean = mean_of(weigh(rows, weight))
        else:
            gram = teacher.gram if teacher else None
            mean = mean_pairwise_gap(*args, precision=precision, gram=gram)
        if sample is not None:
            diagonal = diagonal_gap(s, t, spec, *gammas, loss=loss).square()
            mean = _unbiased(mean, weigh(diagonal, weight).sum(), s.size(0), n)
        return mean if reduction == "mean" else n * mean


def _unbiased(mean: Tensor, diagonal: Tensor, sampled: int, total: int) -> Tensor:
    """An unbiased estimate of the loss on ``total`` rows, from the loss on ``sampled`` of them.

    Pairs i ≠ j and the diagonal are drawn with different probabilities: n(n − 1)/(N(N − 1)) and
    n/N. If the diagonal difference is zero, the factor is n(N − 1)/(N(n − 1)).
    """
    factor = sampled * (total - 1) / (total * (sampled - 1))
    return factor * mean + diagonal * (1 / (sampled * total) - factor / sampled**2)


def precompute_global_lsp(
    h_t: Tensor, *, kernel: str = "cosine", index: Tensor | None = None
) -> GlobalLSPTeacher:
    r"""The teacher's side of :func:`global_lsp_loss`; pass it to the loss instead of ``h_t``.

    It is the Gram matrix :math:`T^\top T` of the (normalised) teacher rows: one of the three
    products of the loss's forward pass. The loss uses it where it takes moments: N > 4d, no
    ``chunk_size``, no ``weight``, and a scalar value. Call the loss with the same kernel and index.

    Args:
        h_t: Teacher embeddings. If they change in place later, the loss raises an error.
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
            gram = teacher_gram(upcast(h), spec.unit)
        return GlobalLSPTeacher(h_t, spec, index, h, gram)
