"""Terms on whole graphs, on clusters of nodes and on paths of nodes: MuGSI."""

from typing import Any

import torch
from torch import Tensor

from graphkd._checks import check_node_ids, check_row_ids, describe
from graphkd._precision import exact, full_precision, recorded
from graphkd.functional._options import check_blocked_options, check_weights
from graphkd.functional._rows import count_groups, group_numbers, matched_rows, refuse_weight
from graphkd.ops.primitives import grouped_gap, star_products
from graphkd.ops.row_primitives import soft_targets
from graphkd.similarity import unit_rows


def check_mugsi_options(
    loss: str,
    *,
    graph_weight: float,
    cluster_weight: float,
    path_weight: float,
    backend: str,
    chunk_size: int | None,
) -> None:
    """Raise on an option that is out of range."""
    check_weights(
        loss, graph_weight=graph_weight, cluster_weight=cluster_weight, path_weight=path_weight
    )
    check_blocked_options(loss, backend=backend, chunk_size=chunk_size)


def mugsi_loss(
    h_s: Tensor,
    h_t: Tensor,
    batch: Tensor | None = None,
    clusters: Tensor | None = None,
    paths: Tensor | None = None,
    *,
    graph_weight: float = 1.0,
    cluster_weight: float = 1.0,
    path_weight: float = 1.0,
    weight: Tensor | None = None,
    backend: str = "auto",
    chunk_size: int | None = None,
) -> Tensor:
    r"""Structure at three granularities: graphs, clusters and paths.

    .. math::
        L = \frac{w_G}{|G|} \sum_g \frac1d \lVert u^s_g - u^t_g\rVert^2
          + \frac{w_C}{|G|} \sum_g \frac12 \sum_{a, b \in C_g}
              \left(\cos(c^s_a, c^s_b) - \cos(c^t_a, c^t_b)\right)^2
          + \frac{w_P}{|P|} \sum_{p} \mathrm{KL}(\pi^t_p \,\Vert\, \pi^s_p)

    with :math:`u_g` the unit vector along the sum of graph g's rows, :math:`c_a` the sum of the
    rows of its cluster a, and :math:`\pi_p` the softmax of the inner products of the first node of
    path p with its other nodes. Sums and means of rows give the same value, because only
    their directions count. The widths may differ if ``graph_weight`` is 0;
    :class:`graphkd.MuGSILoss` projects the student for that term.

    Args:
        h_s: Student rows.
        h_t: Teacher rows; they get no gradient.
        batch: The graph of each node, as in a PyG mini-batch. Default: all are in one graph.
        clusters: The cluster of each node within its graph; any integer ids, in any order.
        paths: Paths of nodes, as :func:`random_walks` draws them; node numbers of the batch.
        graph_weight: :math:`w_G`; 0 switches the term off.
        cluster_weight: :math:`w_C`; 0 switches the term off, and ``clusters`` is not needed.
        path_weight: :math:`w_P`; 0 switches the term off, and ``paths`` is not needed.
        weight: Refused: a weight belongs to a row, but each value here to a graph or a path.
        backend: ``"auto"``, ``"reference"`` or ``"chunked"``.
        chunk_size: Clusters per block of the chunked backend; changes memory, not the value.

    Shapes:
        - **h_s:** :math:`[N, d]`
        - **h_t:** :math:`[N, d]`
        - **batch:** :math:`[N]`
        - **clusters:** :math:`[N]`
        - **paths:** :math:`[P, k + 1]`
        - **output:** scalar

    Raises:
        ValueError: If row counts, widths, shapes or devices do not fit, ``weight`` is given, or an
            option is out of range.
        TypeError: If embeddings are not floating-point tensors, ids are not integer tensors, or an
            input of a term with a weight is missing.
        IndexError: If a path names a node that does not exist.

    Source: Yao, Sun, Cao, Zhang and Chen, WWW 2024, arXiv 2406.19832. The terms are the same as in
    the authors' code. That code leaves graphs of at most two clusters out of the second term, and
    values of single graphs that are not finite out of the second and third.

    Example:
        >>> import torch
        >>> from graphkd.functional import mugsi_loss
        >>> h_t = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> h_s = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
        >>> clusters, paths = torch.tensor([0, 1, 0]), torch.tensor([[0, 1, 2]])
        >>> mugsi_loss(h_s, h_t, clusters=clusters, paths=paths)    # 0.1056 + 1 + 0.1109
        tensor(1.2165)
    """
    loss = "mugsi_loss"
    options: dict[str, Any] = {
        "graph_weight": graph_weight,
        "cluster_weight": cluster_weight,
        "path_weight": path_weight,
        "backend": backend,
        "chunk_size": chunk_size,
    }
    check_mugsi_options(loss, **options)
    refuse_weight(loss, weight, "graph or path")
    remedy = "MuGSILoss(dim_s, dim_t) projects the student." if graph_weight else None
    s, t, _ = matched_rows(loss, h_s, h_t, projecting=remedy)
    return levels(loss, (s, t), None, batch, clusters, paths, **options)


def levels(
    loss: str,
    rows: tuple[Tensor, Tensor],
    projected: tuple[Tensor, Tensor] | None,
    batch: Tensor | None,
    clusters: Tensor | None,
    paths: Tensor | None,
    *,
    graph_weight: float,
    cluster_weight: float,
    path_weight: float,
    backend: str,
    chunk_size: int | None,
) -> Tensor:
    """MuGSI of checked rows; the term of graphs takes ``projected`` instead, if given."""
    s, t = rows
    if batch is not None:
        remedy = "Pass data.batch of the same nodes."
        check_row_ids(loss, "batch", batch, s, "graph ids", remedy)
    if cluster_weight:
        _require(loss, "clusters", clusters, "cluster_weight")
        remedy = "Number the clusters of each graph."
        check_row_ids(loss, "clusters", clusters, s, "cluster ids", remedy)
    if path_weight:
        _require(loss, "paths", paths, "path_weight")
        remedy = "Draw them with graphkd.functional.random_walks."
        check_node_ids(loss, "paths", paths, s, 2, remedy)
    graph = torch.zeros(s.size(0), dtype=torch.long, device=s.device)
    if batch is not None:
        graph = group_numbers(batch)
    count = count_groups(graph)
    terms = []
    with full_precision(s.device):
        if graph_weight:
            u, v = (_directions(h, graph) for h in projected or (s, t))
            gaps = (u - v).square().mean(dim=1)
            terms.append((graph_weight * gaps.sum() / count).to(s.dtype))
        if cluster_weight and clusters is not None:
            gaps = _cluster_gaps(loss, s, t, graph, clusters, backend, chunk_size)
            terms.append(cluster_weight / 2 * gaps.sum() / count)
        if path_weight and paths is not None:
            along = _path_divergences(loss, s, t, paths, backend, chunk_size)
            terms.append(path_weight * along.sum() / max(paths.size(0), 1))
        return torch.stack(terms).sum()


def _require(loss: str, name: str, ids: Any, weight: str) -> None:
    if ids is None:
        raise TypeError(
            f"{loss}: {weight} is above 0, and {name} is missing; got None. Pass {name}=, or "
            f"{weight}=0 to leave the term out."
        )


def _directions(h: Tensor, group: Tensor) -> Tensor:
    """The unit vector along the sum of each group's rows, in float64; zero rows fill up to N.

    Many rows far from the origin sum up to nearly the same on both sides.
    """
    exactly = exact(h)
    return unit_rows(torch.zeros_like(exactly).index_add(0, group, exactly))


def _cluster_gaps(
    loss: str,
    s: Tensor,
    t: Tensor,
    graph: Tensor,
    clusters: Tensor,
    backend: str,
    chunk_size: int | None,
) -> Tensor:
    """For each cluster, the squared gaps of its cosines with the clusters of its graph."""
    # Clusters of two graphs are different, even if they have the same number.
    cluster = group_numbers(graph * max(graph.size(0), 1) + group_numbers(clusters))
    home = torch.full_like(graph, -1).scatter(0, cluster, graph)
    u, v = (_directions(h, cluster) for h in (s, t))
    return grouped_gap(loss, u, v, home, backend, chunk_size).to(s.dtype)


def _path_divergences(
    loss: str, s: Tensor, t: Tensor, paths: Tensor, backend: str, chunk_size: int | None
) -> Tensor:
    """For each path, the divergence of the similarities of its first node with the others."""
    if paths.size(1) < 2:
        raise ValueError(
            f"{loss}: paths must have at least two nodes each, shape [P, k + 1]; got "
            f"{describe(paths)}. Draw longer ones."
        )
    paths = recorded(paths.long())
    start, others = paths[:, 0], paths[:, 1:]
    # In float64: near convergence, the loss depends on small differences of inner products.
    z_s, z_t = (
        star_products(loss, h.index_select(0, start), h, others, backend, chunk_size)
        for h in (exact(s), exact(t))
    )
    return soft_targets(z_s, z_t).to(s.dtype)
