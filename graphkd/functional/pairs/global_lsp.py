"""Similarities over all pairs of nodes: Global LSP, the paper's GSP."""

from typing import Any

import torch
from torch import Tensor

from graphkd._checks import check_matrix, check_pair
from graphkd._precision import full_precision, student_and_teacher
from graphkd.distributed import refuse, reporting
from graphkd.functional._bandwidth import MOST_ROWS, bandwidth, pair_median, warn_if_saturated
from graphkd.functional._options import BACKENDS, check_pair_options
from graphkd.functional._precomputed import GlobalLSPTeacher
from graphkd.functional._rows import reduce_rows, resolve_index, sample_rows, select_rows
from graphkd.functional.neighbours.lsp import check_kernel_backend
from graphkd.ops import check_precision, chunked, pick_backend, reference, triton_programs
from graphkd.similarity import Gamma, Kernel, KernelFunction, resolve_kernel


def check_global_lsp_options(
    loss: str, *, kernel: str | KernelFunction, gamma: Gamma, **pairs: Any
) -> Kernel | KernelFunction:
    """Raise on an option of Global LSP that is out of range; give the kernel."""
    spec = resolve_kernel(loss, kernel, gamma)
    check_kernel_backend(loss, spec, pairs["backend"], BACKENDS)
    check_pair_options(loss, **pairs)
    precision = pairs["precision"]
    if precision != "float32" and kernel != "poly":
        raise ValueError(
            f"{loss}: precision={precision!r} belongs to kernel='poly'; got kernel={kernel!r}. "
            "Moments are cheap in full precision, and distances need it. Leave it at 'float32'."
        )
    by_name = {"a callable kernel": (not isinstance(spec, Kernel), "Pass a kernel's name.")}
    refuse(loss, pairs["process_group"], **by_name)
    return spec


def global_lsp_loss(
    h_s: Tensor,
    h_t: Tensor | GlobalLSPTeacher,
    *,
    kernel: str | KernelFunction = "cosine",
    gamma: Gamma = 0.5,
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
    The kernels are those of :func:`lsp_loss`. With ``"cosine"`` and ``"linear"`` the cost is
    :math:`O(N d^2)`, with the others :math:`O(N^2 d)`; memory is linear in N.

    Args:
        h_s: Student embeddings.
        h_t: Teacher embeddings, which get no gradient; or what :func:`precompute_global_lsp` made
            of them.
        kernel: A kernel's name, or a function of two broadcastable tensors :math:`[\dots, d]` that
            returns :math:`[\dots]` (which needs :math:`N \times N \times d` memory).
        gamma: The rbf bandwidth, or ``"median"``: 1/(2m²) for the median distance m of the pairs
            i < j of at most 1,024 rows, for student and teacher separately.
        index: Boolean mask or row numbers of the rows that take part.
        max_samples: Draw at most this many rows anew in each call, without replacement; the value
            is corrected to be an unbiased estimate of the loss on all rows.
        generator: Source of randomness for ``max_samples`` and the median; default: torch's
            global one.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each row's mean over all j).
        backend: ``"auto"``, ``"reference"`` (dense), ``"chunked"`` (linear memory) or ``"triton"``
            (for GPUs).
        chunk_size: Side of the chunked backend's square tiles; changes memory, not the value. With
            ``"cosine"`` and ``"linear"``, it asks for tiles in the place of d × d moments.
        precision: Of the triton backend's products with ``kernel="poly"``: ``"float32"``,
            ``"tf32"`` or ``"bf16"``.
        process_group: A ``torch.distributed`` group: the loss is then that of all its ranks' rows,
            and each rank gets that value. See :doc:`/distributed`.
        ddp: With a group of W ranks: True delivers W times this rank's gradient, which
            DistributedDataParallel divides by W; False the gradient itself.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If row counts or devices differ, an input is not two-dimensional, or an option
            is out of range.
        TypeError: If an input is not a floating-point tensor.
        IndexError: If ``index`` names a row that does not exist.
        ImportError: If ``backend="triton"`` and triton is not installed.

    Source: the global structure preserving loss (GSP) of Joshi et al., TNNLS 2022, arXiv
    2111.04964, whose value this is. The authors sample 8,192 rows without a correction and project
    both sides by heads that learn, which has a trivial optimum: both collapse to a point.

    Example:
        >>> import torch
        >>> from graphkd.functional import global_lsp_loss
        >>> h_t = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> global_lsp_loss(torch.ones(2, 3), h_t)     # two of the four cosines are off by 1
        tensor(0.5000)
    """
    loss = "global_lsp_loss"
    with reporting(process_group):
        spec = check_global_lsp_options(
            loss,
            kernel=kernel,
            gamma=gamma,
            max_samples=max_samples,
            reduction=reduction,
            backend=backend,
            chunk_size=chunk_size,
            precision=precision,
            process_group=process_group,
            ddp=ddp,
        )
    if process_group is not None and isinstance(spec, Kernel):
        # Its decorator loads torch's compiler.
        from graphkd.functional._ranked import ranked_global_lsp

        value: Tensor = ranked_global_lsp(
            h_s,
            h_t,
            spec,
            gamma=gamma,
            index=index,
            generator=generator,
            reduction=reduction,
            chunk_size=chunk_size,
            process_group=process_group,
            ddp=ddp,
        )
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
        h_s, h_t = select_rows(loss, h_s, resolve_index(loss, index, h_s)), teacher.h
    check_pair(loss, h_s, h_t)
    s, t = student_and_teacher(h_s, h_t)
    with full_precision(s.device):
        if teacher is None:
            chosen = resolve_index(loss, index, s)
            s, t = select_rows(loss, s, chosen), select_rows(loss, t, chosen)
        n = s.size(0)
        sample = sample_rows(n, max_samples, generator, s.device)
        s, t = select_rows(loss, s, sample), select_rows(loss, t, sample)
        few = sample_rows(s.size(0), MOST_ROWS, generator, s.device) if gamma == "median" else None

        def width(x: Tensor) -> Tensor:
            return bandwidth(spec, gamma, x, lambda: pair_median(select_rows(loss, x, few)))

        gamma_s, gamma_t = width(s), width(t)
        warn_if_saturated(loss, spec, gamma, t.size(1), lambda: pair_median(t[:32]))
        backend = pick_backend(
            loss, backend, s, reference=not isinstance(spec, Kernel), chunk_size=chunk_size
        )
        check_precision(loss, precision, backend)
        moments = backend != "reference" and chunk_size is None and _moments_serve(spec, s, t)
        if moments and reduction != "none" and isinstance(spec, Kernel):
            mean = chunked.moment_gap(s, t, spec.unit, teacher.gram if teacher else None)
        else:
            if not isinstance(spec, Kernel) or backend == "reference":
                rows = reference.pairwise_gap(s, t, spec, gamma_s, gamma_t, loss=loss)
            elif moments:
                rows = chunked.moment_gap_rows(s, t, spec.unit)
            elif backend == "triton":
                rows = triton_programs().pairwise_gap(s, t, spec, gamma_s, gamma_t, precision)
            else:
                rows = chunked.pairwise_gap(s, t, spec, gamma_s, gamma_t, chunk_size)
            if reduction == "none":
                return rows
            mean = reduce_rows(rows, "mean")
        if sample is not None:
            diagonal = reference.diagonal_gap(s, t, spec, gamma_s, gamma_t, loss=loss)
            mean = _unbiased(mean, diagonal.square().sum(), s.size(0), n)
        return mean if reduction == "mean" else n * mean


def _moments_serve(kernel: Kernel | KernelFunction, s: Tensor, t: Tensor) -> bool:
    """Whether d × d moments are the kernel's way, and the smaller way."""
    if not isinstance(kernel, Kernel) or not kernel.inner:
        return False
    # A row count that a mask gives is not known while compiling; the moments suit any.
    return torch.compiler.is_compiling() or s.size(0) > max(4 * s.size(1), 4 * t.size(1), 256)


def _unbiased(mean: Tensor, diagonal: Tensor, sampled: int, total: int) -> Tensor:
    """An unbiased estimate of the loss on ``total`` rows from that on ``sampled`` of them.

    Pairs i ≠ j and the diagonal are drawn with different probabilities: n(n − 1)/(N(N − 1)) and
    n/N. Where the diagonal difference is zero the factor is n(N − 1)/(N(n − 1)).
    """
    factor = sampled * (total - 1) / (total * (sampled - 1))
    return factor * mean + diagonal * (1 / (sampled * total) - factor / sampled**2)
