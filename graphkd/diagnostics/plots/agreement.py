"""Where in the graph the student predicts what the teacher does: by degree and by homophily."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from graphkd._checks import check_row_ids
from graphkd.diagnostics.plots._axes import COLOURS, GREY, check_axes, make_axes, open_frame
from graphkd.diagnostics.predictions import agreeing, predicted
from graphkd.functional._rows import matched_logits
from graphkd.graph import resolve_edges

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = 5


def plot_agreement(
    z_s: Tensor,
    z_t: Tensor,
    edge_index: Any,
    y: Tensor | None = None,
    *,
    index: Tensor | None = None,
    axes: "Sequence[Axes] | None" = None,
) -> tuple["Axes", "Axes"]:
    r"""The share of nodes on which student and teacher agree, by degree and by homophily.

    An MLP as a rule agrees least where the graph says most. A node's degree is the number of edges
    into it, its homophily the share of these that come from a node of its class; self loops are
    left out. Bars are standard errors :math:`\sqrt{p (1 - p) / n}` of the share p among n nodes.
    Below each bin stands n. The dashed line is the share among all of them.

    Args:
        z_s: Student logits.
        z_t: Teacher logits of the same nodes and classes.
        edge_index: Edges j → i in any format that :class:`graphkd.Graph` takes, or a Graph.
            Duplicate edges count.
        y: A class for each node, negative where it is unknown: homophily then leaves the node's
            edges out. Without ``y``, classes are those that the teacher predicts.
        index: Boolean mask or row numbers of the nodes that are counted, such as the test nodes.
            Degree and homophily are those in the whole graph.
        axes: Two axes to draw on; without them, those of a new figure of ``matplotlib.pyplot``.

    Shapes:
        - **z_s, z_t:** :math:`[N, C]`
        - **edge_index:** :math:`[2, E]`
        - **y:** :math:`[N]`

    Returns:
        The axes by degree (nodes without a neighbour, and at most five bins of about as many nodes
        each), and those by homophily (in fifths; nodes without a neighbour have none).

    Raises:
        ValueError: If row counts, classes or devices differ, an input is not two-dimensional, or
            ``y`` has another length.
        TypeError: If an input is not a floating-point tensor, the graph has no known format, ``y``
            holds no integers, or ``axes`` are not two axes.
        IndexError: If an edge or ``index`` names a node that does not exist.
        ImportError: If matplotlib is not installed.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from graphkd.diagnostics import plot_agreement
        >>> z_t = torch.eye(4)
        >>> z_s = z_t[[0, 1, 3, 3]]
        >>> edges = torch.tensor([[1, 2, 3, 0], [0, 0, 0, 1]])
        >>> by_degree, _ = plot_agreement(z_s, z_t, edges, axes=Figure().subplots(1, 2))
        >>> [tick.get_text() for tick in by_degree.get_xticklabels()]
        ['0\n(2)', '1\n(1)', '3\n(1)']
        >>> by_degree.lines[0].get_ydata().tolist()
        [0.5, 1.0, 1.0]
    """
    name = "plot_agreement"
    with torch.no_grad():
        s, t, chosen = matched_logits(name, z_s, z_t, index)
        if y is not None:
            remedy = "Call .argmax(dim=1) on logits."
            check_row_ids(name, "y", y, z_t, "classes", remedy)
        edges = resolve_edges(name, edge_index, z_t.size(0), z_t.size(0), z_t.device)
        degree, homophily = _structure(edges.src, edges.dst, z_t.argmax(dim=1) if y is None else y)
    check_axes(name, axes, 2)
    agree = agreeing(predicted(s), predicted(t)).cpu()
    if chosen is not None:
        degree, homophily = (of_nodes[chosen.cpu()] for of_nodes in (degree, homophily))
    panels = make_axes(axes, 2, (8.6, 3.6), sharey=True)
    _by_degree(panels[0], agree, degree)
    _by_homophily(panels[1], agree, homophily)
    for ax in panels:
        if agree.numel():
            ax.axhline(float(agree.mean()), color=GREY, linestyle="--", linewidth=1, zorder=0)
        open_frame(ax)
    panels[0].set_ylabel("agreement")
    return panels[0], panels[1]


def _structure(src: Tensor, dst: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Degree and homophily of each node; NaN where no neighbour has a known class."""
    src, dst = (end[src != dst] for end in (src, dst))
    known = (y[src] >= 0) & (y[dst] >= 0)
    ends = dst, dst[known], dst[known & (y[src] == y[dst])]
    degree, counted, alike = (torch.bincount(end, minlength=y.size(0)) for end in ends)
    return degree.cpu(), alike.cpu().double() / counted.cpu()


def _by_degree(ax: "Axes", agree: Tensor, degree: Tensor) -> None:
    """Nodes without a neighbour, then bins of about as many nodes each; equal degrees share one."""
    ordered = degree.sort().values
    places = torch.arange(1, _BINS, device="cpu") * degree.numel() // _BINS
    cuts = sorted({1, *(ordered[places].tolist() if degree.numel() else [])})
    bins = torch.bucketize(degree, torch.tensor(cuts, device="cpu"), right=True)
    there = [k for k in range(len(cuts) + 1) if bool((bins == k).any())]
    ends = [[int(end) for end in degree[bins == k].aminmax()] for k in there]
    labels = [f"{low:,}" if low == high else f"{low:,}–{high:,}" for low, high in ends]
    bins = torch.bucketize(bins, torch.tensor(there, dtype=torch.long, device="cpu"))
    _shares(ax, agree, bins, labels)
    ax.set_xlabel("degree (nodes)")


def _by_homophily(ax: "Axes", agree: Tensor, homophily: Tensor) -> None:
    """Fifths, from no neighbour of the same class to all of them."""
    known = ~homophily.isnan()
    bins = (homophily[known] * _BINS).long().clamp(max=_BINS - 1)
    width = 100 // _BINS
    labels = [f"{k * width}–{(k + 1) * width}" for k in range(_BINS)]
    _shares(ax, agree[known], bins, labels)
    ax.set_xlabel("homophily, % (nodes)")


def _shares(ax: "Axes", agree: Tensor, bins: Tensor, labels: list[str]) -> None:
    """The mean of each bin that has nodes, with its standard error and their number."""
    counts = torch.bincount(bins, minlength=len(labels))
    share = torch.bincount(bins, agree, minlength=len(labels)) / counts
    error = (share * (1 - share) / counts).sqrt()
    there = counts.nonzero().view(-1)
    x, y, spread = (part.tolist() for part in (there, share[there], error[there]))
    ax.errorbar(x, y, yerr=spread, fmt="o", color=COLOURS[0], capsize=3)
    ticks = [f"{label}\n({n:,})" for label, n in zip(labels, counts.tolist(), strict=True)]
    ax.set_xticks(range(len(ticks)), ticks)
    ax.set_xlim(-0.5, len(ticks) - 0.5)
