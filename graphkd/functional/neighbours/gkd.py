"""Heat kernels over all pairs of nodes, with more weight on joined pairs: GKD."""

import math
from typing import Any

import torch
from torch import Tensor

from graphkd._checks import check_choice, check_count
from graphkd._precision import full_precision
from graphkd.functional._bandwidth import MOST_ROWS, bandwidth, pair_median, warn_if_saturated
from graphkd.functional._options import check_blocked_options, check_weights
from graphkd.functional._rows import (
    check_generator,
    matched_rows,
    reduce_rows,
    resolve_index,
    row_weights,
    sample_rows,
    select_rows,
)
from graphkd.functional.neighbours._edges import between_nodes, edges_of
from graphkd.graph import Edges
from graphkd.ops.primitives import edge_similarity, pairwise_gap
from graphkd.ops.reference import diagonal_gap
from graphkd.ops.segments import segment_sum
from graphkd.similarity import (
    DEFAULT_GAMMA,
    KERNELS,
    SIGMOID,
    Gamma,
    Kernel,
    resolve_kernel,
)

# The kernel "random" is the inner product of random features.
_KERNELS = {"sigmoid": SIGMOID, "rbf": KERNELS["rbf"], "random": KERNELS["linear"]}


def check_gkd_options(
    loss: str,
    *,
    kernel: str,
    gamma: Gamma,
    delta: float,
    num_features: int | None,
    reduction: str,
    backend: str,
    chunk_size: int | None,
) -> None:
    """Raise on an option that is out of range."""
    check_choice(f"{loss}: kernel", kernel, _KERNELS)
    if kernel == "rbf":
        resolve_kernel(loss, kernel, gamma)
    elif gamma != DEFAULT_GAMMA:
        raise ValueError(
            f"{loss}: gamma belongs to kernel='rbf'; got gamma={gamma!r} with kernel={kernel!r}. "
            "Leave it out."
        )
    if num_features is not None:
        check_count(f"{loss}: num_features", num_features, least=1)
        if kernel != "random":
            raise ValueError(
                f"{loss}: num_features belongs to kernel='random'; got num_features="
                f"{num_features!r} with kernel={kernel!r}. Leave it out."
            )
    # A joined pair has the weight 1.
    check_weights(loss, delta=delta, edges=1)
    check_blocked_options(loss, reduction=reduction, backend=backend, chunk_size=chunk_size)


def gkd_loss(
    h_s: Tensor,
    h_t: Tensor,
    edge_index: Any,
    *,
    kernel: str = "sigmoid",
    gamma: Gamma = DEFAULT_GAMMA,
    delta: float = 0.1,
    num_features: int | None = None,
    weight: Tensor | None = None,
    edge_weight: Tensor | None = None,
    index: Tensor | None = None,
    generator: torch.Generator | None = None,
    reduction: str = "mean",
    backend: str = "auto",
    chunk_size: int | None = None,
) -> Tensor:
    r"""Weighted mean squared difference of the heat kernels of student and teacher.

    Replaces ``((A + (1 - A) * delta) * (k(h_s, h_s) - k(h_t, h_t)) ** 2).mean()`` with the dense
    adjacency A, which has ones on its diagonal, exactly and without :math:`N \times N` matrices.

    .. math::
        L = \frac1{N^2} \sum_{i,j} \left(A_{ij} + (1 - A_{ij})\,\delta\right)
            \left(k(h^s_i, h^s_j) - k(h^t_i, h^t_j)\right)^2

    All pairs with the weight δ are Global LSP; an edge adds 1 − δ times its pair's gap. Kernels:
    ``"sigmoid"`` :math:`\tanh(x \cdot y)`; ``"rbf"`` :math:`e^{-\gamma\lVert x - y\rVert^2}`, the
    heat kernel of flat space at the time :math:`1/(4\gamma)`, without its constant; ``"random"``
    :math:`\frac1m \tanh(x W) \cdot \tanh(y W)`, with a Gaussian matrix W of m columns, drawn in
    each call, the same for student and teacher.

    Args:
        h_s: Student embeddings.
        h_t: Teacher embeddings; they get no gradient.
        edge_index: Edges j → i in any format that :class:`graphkd.Graph` takes, or a Graph.
            Duplicate edges count as often as they occur; self loops are left out, because a
            node's pair with itself already has the weight 1.
        kernel: ``"sigmoid"``, ``"rbf"`` or ``"random"``.
        gamma: The rbf bandwidth, or ``"median"``: 1/(2m²) for the median distance m of the pairs
            i < j of at most 1,024 rows, for student and teacher separately.
        delta: The weight of a pair that no edge joins.
        num_features: m, the number of random features; default: twice the width.
        weight: A weight for each centre i, not negative, before ``index``. The mean divides by the
            weights' sum. It gets a gradient if it requires one.
        edge_weight: A weight w for each edge, not negative, in the order of an ``edge_index``
            tensor; a :class:`graphkd.Graph` holds its own. It takes the place of the edge's 1 in A,
            so that its pair has the weight δ + w (1 − δ). It gets a gradient if it requires one.
        index: Boolean mask or row numbers of the centres i; the rows j are not restricted.
        generator: Source of randomness for W and the median; default: torch's global one.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each centre's weighted mean over all j).
        backend: ``"auto"``, ``"reference"`` (dense) or ``"chunked"`` (linear memory).
        chunk_size: Side of the square tiles, and edges per block; changes memory, not the value.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`; ``kernel="random"`` needs equal widths
        - **edge_index:** :math:`[2, E]`
        - **weight:** :math:`[N]`
        - **edge_weight:** :math:`[E]`
        - **output:** scalar, or one value per selected centre for ``reduction="none"``

    Raises:
        ValueError: If row counts or devices differ, widths differ with ``kernel="random"``, an
            input is not two-dimensional, a weight is negative, or an option is out of range.
        TypeError: If an input is not a floating-point tensor or the graph has no known format.
        IndexError: If an edge or ``index`` names a node that does not exist.

    Source: Yang, Wu and Yan, NeurIPS 2022, arXiv 2210.13014. The authors' code sums over the pairs:
    its value for ``"sigmoid"`` is this one times N². See the documentation for the other kernels.

    Example:
        >>> import torch
        >>> from graphkd.functional import gkd_loss
        >>> h_s, h_t = torch.tensor([[1.0], [0.0], [0.0]]), torch.tensor([[1.0], [1.0], [0.0]])
        >>> edge_index = torch.tensor([[0, 1], [1, 0]])
        >>> gkd_loss(h_s, h_t, edge_index)      # node 1 with itself, and with node 0 twice
        tensor(0.1933)
    """
    loss = "gkd_loss"
    check_gkd_options(
        loss,
        kernel=kernel,
        gamma=gamma,
        delta=delta,
        num_features=num_features,
        reduction=reduction,
        backend=backend,
        chunk_size=chunk_size,
    )
    check_generator(generator)
    shared = "The random features are shared: project one of them, or use kernel='sigmoid'."
    remedy = shared if kernel == "random" else None
    s, t, _ = matched_rows(loss, h_s, h_t, projecting=remedy)
    chosen = resolve_index(loss, index, s)
    weight = row_weights(loss, weight, s, chosen)
    edges = edges_of(loss, edge_index, s, chosen, edge_weight)
    spec, n = _KERNELS[kernel], s.size(0)
    with full_precision(s.device):
        few = sample_rows(n, MOST_ROWS, generator, s.device) if gamma == "median" else None

        def width(h: Tensor) -> Tensor:
            return bandwidth(spec, gamma, h, lambda: pair_median(select_rows(loss, h, few)))

        gammas = width(s), width(t)
        warn_if_saturated(loss, spec, gamma, t.size(1), lambda: pair_median(t[:32]))
        if kernel == "random":
            s, t = _random_features(s, t, num_features or 2 * s.size(1), generator)
        rows = _joined_pairs(loss, s, t, spec, gammas, edges, backend, chunk_size)
        rows = rows * ((1 - delta) / max(n, 1))
        if delta:
            args = loss, s, t, spec, gammas, backend, chunk_size
            rows = rows + delta * pairwise_gap(*args, moments=spec.inner)
        return reduce_rows(select_rows(loss, rows, chosen), reduction, weight)


def _random_features(
    s: Tensor, t: Tensor, count: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Features whose inner product is the kernel "random"."""
    at = s.device if generator is None else generator.device
    weight = torch.randn(s.size(1), count, generator=generator, device=at, dtype=s.dtype)
    weight = weight.to(s.device)
    return (s @ weight).tanh() / math.sqrt(count), (t @ weight).tanh() / math.sqrt(count)


def _joined_pairs(
    loss: str,
    s: Tensor,
    t: Tensor,
    kernel: Kernel,
    gammas: tuple[Tensor, Tensor],
    edges: Edges,
    backend: str,
    chunk_size: int | None,
) -> Tensor:
    """For every row i, the squared gaps summed over the node's edges and its pair with itself."""
    values = [
        edge_similarity(loss, h, h, edges, kernel, gamma, backend, chunk_size, programs=False)
        for h, gamma in zip((s, t), gammas, strict=True)
    ]
    squares = (values[0] - values[1]).square() * between_nodes(edges).to(s.dtype)
    own = diagonal_gap(s, t, kernel, *gammas, loss=loss)
    return segment_sum(squares, edges.dst, edges.num_dst) + own.square()
