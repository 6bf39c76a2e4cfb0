"""Similarities over all pairs of nodes: Global LSP, the paper's GSP."""

import torch
from torch import Tensor

from graphkd._checks import check_count, check_pair
from graphkd._precision import full_precision, student_and_teacher
from graphkd.functional._bandwidth import MOST_ROWS, bandwidth, pair_median, warn_if_saturated
from graphkd.functional._inputs import (
    check_reduction,
    check_sampling,
    reduce_rows,
    resolve_index,
    sample_rows,
    select_rows,
)
from graphkd.functional.local_structure import check_kernel_backend
from graphkd.ops import chunked, pick_backend, reference
from graphkd.similarity import Gamma, Kernel, KernelFunction, kernel_rows, resolve_kernel

_BACKENDS = ("reference", "chunked")


def check_global_lsp_options(
    loss: str,
    *,
    kernel: str | KernelFunction,
    gamma: Gamma,
    max_samples: int | None,
    reduction: str,
    backend: str,
    chunk_size: int | None,
) -> Kernel | KernelFunction:
    """Raise on an option of Global LSP that is out of range; give the kernel."""
    check_reduction(loss, reduction)
    check_sampling(loss, max_samples, reduction)
    spec = resolve_kernel(loss, kernel, gamma)
    check_kernel_backend(loss, spec, backend, _BACKENDS)
    if chunk_size is not None:
        check_count(f"{loss}: chunk_size", chunk_size, least=1)
    return spec


def global_lsp_loss(
    h_s: Tensor,
    h_t: Tensor,
    *,
    kernel: str | KernelFunction = "cosine",
    gamma: Gamma = 0.5,
    index: Tensor | None = None,
    max_samples: int | None = None,
    generator: torch.Generator | None = None,
    reduction: str = "mean",
    backend: str = "auto",
    chunk_size: int | None = None,
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
        h_t: Teacher embeddings; they get no gradient.
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
        backend: ``"auto"``, ``"reference"`` (dense) or ``"chunked"`` (linear memory).
        chunk_size: Side of the chunked backend's square tiles; changes memory, not the value. With
            ``"cosine"`` and ``"linear"``, it asks for tiles in the place of d × d moments.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If row counts or devices differ, an input is not two-dimensional, or an option
            is out of range.
        TypeError: If an input is not a floating-point tensor.
        IndexError: If ``index`` names a row that does not exist.

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
    spec = check_global_lsp_options(
        loss,
        kernel=kernel,
        gamma=gamma,
        max_samples=max_samples,
        reduction=reduction,
        backend=backend,
        chunk_size=chunk_size,
    )
    check_pair(loss, h_s, h_t)
    s, t = student_and_teacher(h_s, h_t)
    chosen = resolve_index(loss, index, s)
    with full_precision(s.device):
        s, t = select_rows(loss, s, chosen), select_rows(loss, t, chosen)
        n = s.size(0)
        sample = sample_rows(n, max_samples, generator, s.device)
        s, t = select_rows(loss, s, sample), select_rows(loss, t, sample)
        few = sample_rows(s.size(0), MOST_ROWS, generator, s.device) if gamma == "median" else None

        def width(x: Tensor) -> Tensor:
            return bandwidth(spec, gamma, x, lambda: pair_median(select_rows(loss, x, few)))

        gamma_s, gamma_t = width(s), width(t)
        warn_if_saturated(loss, spec, gamma, t.size(1), lambda: pair_median(t[:64]))
        if isinstance(spec, Kernel):
            s, t = kernel_rows(spec, s), kernel_rows(spec, t)
        backend = pick_backend(loss, backend, s.device, reference=not isinstance(spec, Kernel))
        if isinstance(spec, Kernel) and backend == "chunked":
            rows = chunked.pairwise_gap(s, t, spec, gamma_s, gamma_t, chunk_size)
        else:
            rows = reference.pairwise_gap(s, t, spec, gamma_s, gamma_t, loss=loss)
        if sample is None:
            return reduce_rows(rows, reduction)
        diagonal = reference.row_similarity(spec, s, s, gamma_s, loss=loss)
        diagonal = diagonal - reference.row_similarity(spec, t, t, gamma_t, loss=loss)
        estimate = _unbiased(rows.mean(), diagonal.square().sum(), s.size(0), n)
        return estimate if reduction == "mean" else n * estimate


def _unbiased(mean: Tensor, diagonal: Tensor, sampled: int, total: int) -> Tensor:
    """An unbiased estimate of the loss on ``total`` rows from that on ``sampled`` of them.

    Pairs i ≠ j and the diagonal are drawn with different probabilities: n(n − 1)/(N(N − 1)) and
    n/N. Where the diagonal difference is zero the factor is n(N − 1)/(N(n − 1)).
    """
    factor = sampled * (total - 1) / (total * (sampled - 1))
    return factor * mean + diagonal * (1 / (sampled * total) - factor / sampled**2)
