"""Each primitive with all its backends: the functions that losses call.

``backend`` is the user's choice. ``loss`` is the name that errors and the log give. The primitives
of the contrastive losses are in ``contrast_primitives.py``.
"""

import torch
from torch import Tensor

from graphkd._precision import recorded
from graphkd.graph import Edges
from graphkd.ops import chunked, reference, scatter, segments
from graphkd.ops.backends import Ways, mean_of, programs_for_gpus, run, run_rows
from graphkd.similarity import Kernel, KernelFunction


def pairwise_gap(
    loss: str,
    s: Tensor,
    t: Tensor,
    kernel: Kernel | KernelFunction,
    gammas: tuple[Tensor, Tensor],
    backend: str,
    chunk_size: int | None,
    *,
    moments: bool = False,
    precision: str | None = None,
) -> Tensor:
    """The mean over j of (k(s_i, s_j) − k(t_i, t_j))², for every row i.

    Args:
        loss: The loss that calls.
        s: Student rows.
        t: Teacher rows.
        kernel: The kernel, or a user's function, which only the reference runs.
        gammas: The kernel's bandwidth for student and teacher.
        backend: The backend.
        chunk_size: The side of a tile.
        moments: Whether d × d moments replace tiles, for a kernel of inner products.
        precision: The precision of the programs for GPUs; None if the loss has no such programs.
    """
    ways: Ways = {"reference": lambda: reference.pairwise_gap(s, t, kernel, *gammas, loss=loss)}
    if isinstance(kernel, Kernel):
        known = kernel
        if moments and chunk_size is None:
            ways["chunked"] = lambda: chunked.moment_gap_rows(s, t, known.unit)
            ways["triton"] = ways["chunked"]
        else:
            ways["chunked"] = lambda: chunked.pairwise_gap(s, t, known, *gammas, chunk_size)
            ways["triton"] = lambda: programs_for_gpus().pairwise_gap(
                s, t, known, *gammas, precision
            )
        if precision is None:
            del ways["triton"]
    return run_rows(loss, backend, chunk_size, s, t, ways, precision or "float32")


def moments_serve(kernel: Kernel | KernelFunction, s: Tensor, t: Tensor) -> bool:
    """Whether the kernel allows d × d moments, and they are the smaller way."""
    if not isinstance(kernel, Kernel) or not kernel.inner:
        return False
    # While compiling, the row count that a mask gives is unknown. The moments suit any count.
    return torch.compiler.is_compiling() or s.size(0) > max(4 * s.size(1), 4 * t.size(1), 256)


def mean_pairwise_gap(
    loss: str,
    s: Tensor,
    t: Tensor,
    kernel: Kernel | KernelFunction,
    gammas: tuple[Tensor, Tensor],
    backend: str,
    chunk_size: int | None,
    *,
    precision: str,
    gram: Tensor | None = None,
) -> Tensor:
    """The mean over all i of ``pairwise_gap``, without values per row if moments serve.

    ``gram`` is the teacher's TᵀT, if it is known.
    """

    def of_rows(backend: str) -> Tensor:
        args = loss, s, t, kernel, gammas, backend, chunk_size
        return mean_of(pairwise_gap(*args, precision=precision))

    if chunk_size is not None or not isinstance(kernel, Kernel) or not moments_serve(kernel, s, t):
        return of_rows(backend)
    unit = kernel.unit
    ways: Ways = {
        "reference": lambda: of_rows("reference"),
        "chunked": lambda: chunked.moment_gap(s, t, unit, gram),
    }
    ways["triton"] = ways["chunked"]
    return run(loss, backend, chunk_size, s, ways, precision)


def row_divergence(
    loss: str, s: Tensor, t: Tensor, epsilon: float, backend: str, chunk_size: int | None
) -> Tensor:
    """Σ_j q_ij log((q_ij + ε)/(p_ij + ε)), q the teacher's and p the student's, for every row i."""
    ways: Ways = {
        "reference": lambda: reference.row_divergence(s, t, epsilon),
        "chunked": lambda: chunked.row_divergence(s, t, epsilon, chunk_size),
    }
    return run_rows(loss, backend, chunk_size, s, t, ways)


def mean_distance(loss: str, x: Tensor, backend: str, chunk_size: int | None) -> Tensor:
    """The mean over j ≠ i of ‖x_i − x_j‖, for every row i."""
    ways: Ways = {
        "reference": lambda: reference.mean_distance(x),
        "chunked": lambda: chunked.mean_distance(x, chunk_size),
    }
    return run_rows(loss, backend, chunk_size, x, x, ways)


def distance_gap(loss: str, s: Tensor, t: Tensor, backend: str, chunk_size: int | None) -> Tensor:
    """The mean over j of the smooth L1 of ‖s_i − s_j‖ − ‖t_i − t_j‖, for every row i."""
    ways: Ways = {
        "reference": lambda: reference.distance_gap(s, t),
        "chunked": lambda: chunked.distance_gap(s, t, chunk_size),
    }
    return run_rows(loss, backend, chunk_size, s, t, ways)


def angle_gap(loss: str, s: Tensor, t: Tensor, backend: str, chunk_size: int | None) -> Tensor:
    """The mean over j and k of the smooth L1 of the gap in cos ∠(j, i, k), for every row i."""
    ways: Ways = {
        "reference": lambda: reference.angle_gap(s, t),
        "chunked": lambda: chunked.angle_gap(s, t, chunk_size),
    }
    return run_rows(loss, backend, chunk_size, s, t, ways)


def code_divergence(
    loss: str,
    s: Tensor,
    t: Tensor,
    codes: Tensor,
    similarity: str,
    temperature: float,
    backend: str,
    chunk_size: int | None,
) -> Tensor:
    """KL(q_i ‖ p_i) for every row i: p, q the softmax over the codes of similarity/temperature."""
    args = s, t, codes, similarity, temperature
    ways: Ways = {
        "reference": lambda: reference.code_divergence(*args),
        "chunked": lambda: chunked.code_divergence(*args, chunk_size),
    }
    return run_rows(loss, backend, chunk_size, s, t, ways)


def grouped_gap(
    loss: str, s: Tensor, t: Tensor, group: Tensor, backend: str, chunk_size: int | None
) -> Tensor:
    """Σ_j (⟨s_i, s_j⟩ − ⟨t_i, t_j⟩)² over the rows j of row i's group, for every row i.

    A negative group number means that the row is in no group.
    """
    ways: Ways = {
        "reference": lambda: reference.grouped_gap(s, t, group),
        "chunked": lambda: chunked.grouped_gap(s, t, group, chunk_size),
    }
    return run_rows(loss, backend, chunk_size, s, t, ways)


def difference_divergence(
    loss: str,
    z_s: Tensor,
    z_t: Tensor,
    edges: Edges,
    temperature: float,
    backend: str,
    chunk_size: int | None,
) -> Tensor:
    """Σ w_e KL(σ(|t_j − t_i|/T) ‖ σ(|s_j − s_i|/T)) over the edges e: j → i, for every node i."""
    args = z_s, z_t, edges, temperature
    ways: Ways = {
        "reference": lambda: reference.difference_divergence(*args),
        "chunked": lambda: chunked.difference_divergence(*args, chunk_size),
    }
    return run_rows(loss, backend, chunk_size, z_s, z_t, ways)


def flow_gap(
    loss: str,
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    graph: Tensor | None,
    backend: str,
    chunk_size: int | None,
) -> Tensor:
    """Each graph's mean squared difference of the flows AᵀB / n of student and teacher.

    ``graph`` is the number of each row's graph; None means one graph.
    """
    args = *student, *teacher, graph
    ways: Ways = {
        "reference": lambda: reference.flow_gap(*args),
        "chunked": lambda: chunked.flow_gap(*args, chunk_size),
    }
    return run(loss, backend, chunk_size, student[0], ways)


def edge_similarity(
    loss: str,
    x_src: Tensor,
    x_dst: Tensor,
    edges: Edges,
    kernel: Kernel | KernelFunction,
    gamma: Tensor,
    backend: str,
    chunk_size: int | None,
    *,
    programs: bool = True,
    relative: bool = False,
) -> Tensor:
    """k(x_src[src_e], x_dst[dst_e]) for every edge e; a user's function runs on the reference.

    ``programs`` says whether the loss has programs for GPUs. ``relative`` says that a softmax over
    each centre's edges follows, which a number added to all of them does not change.
    """
    args = x_src, x_dst, edges
    ways: Ways = {"reference": lambda: reference.edge_similarity(*args, kernel, gamma, loss=loss)}
    if isinstance(kernel, Kernel):
        known = kernel
        ways["chunked"] = lambda: chunked.edge_similarity(*args, known, gamma, chunk_size, relative)
        ways["scatter"] = ways["chunked"]
        if programs:
            ways["triton"] = lambda: programs_for_gpus().edge_similarity(*args, known, gamma)
    return run(loss, backend, chunk_size, x_src, ways)


def edge_squares(
    loss: str, x: Tensor, edges: Edges, backend: str, chunk_size: int | None
) -> Tensor:
    """‖x_j − x_i‖² for every edge j → i."""
    ways: Ways = {
        "reference": lambda: reference.edge_squares(x, edges),
        "chunked": lambda: chunked.edge_squares(x, edges, chunk_size),
    }
    return run(loss, backend, chunk_size, x, ways)


def edge_divergence(
    loss: str,
    student: Tensor,
    teacher: Tensor,
    edges: Edges,
    divergence: str,
    backend: str,
) -> Tensor:
    """KL(q ‖ p), or Σ (q − p)², of the softmaxes of teacher and student over each centre's edges.

    ``student`` and ``teacher`` have one number per edge. An edge's weight multiplies both sides'
    exponentials.
    """
    args = student, teacher, edges.weight, edges.dst, edges.num_dst, divergence
    ways: Ways = {
        "reference": lambda: reference.edge_divergence(*args, segments),
        "chunked": lambda: chunked.edge_divergence(*args),
        "scatter": lambda: reference.edge_divergence(*args, scatter),
    }
    ways["triton"] = ways["chunked"]
    return run(loss, backend, None, student, ways)


def star_products(
    loss: str, rows: Tensor, h: Tensor, leaves: Tensor, backend: str, chunk_size: int | None
) -> Tensor:
    """⟨row_c, h_l⟩ for every row c and the leaves l of its list, in the shape of the leaves."""
    leaves = recorded(leaves)
    ways: Ways = {
        "reference": lambda: reference.star_products(rows, h, leaves),
        "chunked": lambda: chunked.star_products(rows, h, leaves, chunk_size),
    }
    return run(loss, backend, chunk_size, h, ways)
