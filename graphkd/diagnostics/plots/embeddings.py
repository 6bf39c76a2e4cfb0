"""Embeddings of student and teacher side by side, turned so that they can be compared."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from graphkd._checks import check_pair, check_row_ids
from graphkd.diagnostics.alignment import procrustes_disparity
from graphkd.diagnostics.plots._axes import COLOURS, MARKERS, check_axes, make_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEGEND = 12  # classes in a column of the legend


def plot_embeddings(
    h_s: Tensor,
    h_t: Tensor,
    y: Tensor | None = None,
    *,
    axes: "Sequence[Axes] | None" = None,
) -> tuple["Axes", "Axes"]:
    r"""Student and teacher embeddings in one plane, coloured by label.

    The plane is that of the teacher's first two principal components. The student is moved, turned,
    reflected and scaled to lie as near to the teacher as it can, in all dimensions, and then shown
    in the same plane. So what differs between the two panels is more than a choice of axes, and a
    student that is drawn smaller is one that fits less:

    .. math::
        \hat S = \operatorname{tr}(\Sigma)\, \bar S\, U V^\top, \qquad
        \bar S^\top \bar T = U \Sigma V^\top,

    with the bars for columns centred and unit Frobenius norm. The student's title has the
    disparity, which is the squared distance of both in all dimensions.

    Args:
        h_s: Student embeddings.
        h_t: Teacher embeddings of the same nodes; the width may differ.
        y: A class for each node. Without it, all have one colour.
        axes: Two axes to draw on; without them, those of a new figure of ``matplotlib.pyplot``.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **y:** :math:`[N]`

    Returns:
        The student's axes, and the teacher's.

    Raises:
        ValueError: If row counts or devices differ, an input is not two-dimensional or not finite,
            or ``y`` has another length.
        TypeError: If an input is not a floating-point tensor, ``y`` holds no integers, or ``axes``
            are not two axes.
        ImportError: If matplotlib is not installed.

    Source: the alignment is that of Gower, Psychometrika 1975, as in ``scipy.spatial.procrustes``.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from graphkd.diagnostics import plot_embeddings
        >>> h_t = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
        >>> h_s = 3 * h_t.flip(1) + 7  # the same but for scale, place and the order of columns
        >>> student, teacher = plot_embeddings(h_s, h_t, axes=Figure().subplots(1, 2))
        >>> student.get_title()
        'student, disparity 0.00'
    """
    name = "plot_embeddings"
    check_pair(name, h_s, h_t)
    for side, h in (("h_s", h_s), ("h_t", h_t)):
        _check_finite(name, side, h)
    if y is not None:
        check_row_ids(name, "y", y, h_t, "classes", "Call .argmax(dim=1) on logits.")
    check_axes(name, axes, 2)
    disparity = float(procrustes_disparity(h_s, h_t))
    points = _in_the_teachers_plane(h_s, h_t)
    columns = 0 if y is None else -(-len(_classes(y)) // _LEGEND)
    panels = make_axes(axes, 2, (8.0 + 0.7 * columns, 4.0))
    titles = f"student, disparity {disparity:.2f}", "teacher"
    for ax, plane, title in zip(panels, points, titles, strict=True):
        _draw(ax, plane, None if y is None else y.detach().cpu())
        ax.set(title=title, xticks=[], yticks=[], xlabel="teacher's component 1", aspect="equal")
    panels[0].set_ylabel("teacher's component 2")
    # One frame for both, so that sizes can be compared.
    if h_t.size(0):
        reach = 1.05 * float(torch.cat(points).abs().amax()) or 1.0
        for ax in panels:
            ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
    if columns:
        panels[1].legend(
            title="class", loc="upper left", bbox_to_anchor=(1, 1), frameon=False,
            ncols=columns, markerscale=2, handletextpad=0.2,
        )  # fmt: skip
    return panels[0], panels[1]


def _in_the_teachers_plane(h_s: Tensor, h_t: Tensor) -> tuple[Tensor, Tensor]:
    """Both sides on the teacher's first two principal axes, aligned, in float64 on a CPU."""
    s, t = (_standardised(h.detach().cpu().double()) for h in (h_s, h_t))
    u, strength, v = torch.linalg.svd(s.T @ t, full_matrices=False)
    aligned = s @ (u @ v) * strength.sum()
    axes = torch.linalg.eigh(t.T @ t).eigenvectors.flip(1)[:, :2]
    # Their sign is arbitrary: the largest entry is made positive, so that a picture repeats.
    largest = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True))
    axes = torch.nn.functional.pad(axes * largest.sign(), (0, 2 - axes.size(1)))
    return aligned @ axes, t @ axes


def _standardised(h: Tensor) -> Tensor:
    """Columns centred, and unit Frobenius norm; rows that are all equal become zeros."""
    if h.size(0) == 0:
        return h
    h = h / h.abs().amax().clamp(min=torch.finfo(h.dtype).tiny)  # no square overflows
    centred = h - h.mean(dim=0)
    norm: Tensor = torch.linalg.matrix_norm(centred)
    return centred / norm.masked_fill(norm == 0, 1)


def _draw(ax: "Axes", points: Tensor, y: Tensor | None) -> None:
    """A point for each node, smaller the more there are."""
    size = min(max(6000 / max(points.size(0), 1), 2.0), 24.0)
    style: dict[str, Any] = {"s": size, "alpha": 0.8, "linewidths": 0, "rasterized": True}
    if y is None:
        ax.scatter(*points.T.numpy(), color=COLOURS[0], **style)
        return
    for k, label in enumerate(_classes(y)):
        marker = MARKERS[k // len(COLOURS) % len(MARKERS)]
        of_class = points[y == label].T.numpy()
        ax.scatter(
            *of_class, color=COLOURS[k % len(COLOURS)], marker=marker, label=str(label), **style
        )


def _classes(y: Tensor) -> list[int]:
    return sorted(set(y.tolist()))


def _check_finite(plot: str, side: str, h: Tensor) -> None:
    bad = int((~h.isfinite()).any(dim=1).sum())
    if bad:
        raise ValueError(
            f"{plot}: {side} must be finite, or no alignment exists; got NaN or infinity in {bad} "
            f"of {h.size(0)} rows. Leave them out: {side}[{side}.isfinite().all(dim=1)], and the "
            "same rows of the other side."
        )
