"""The measures as torchmetrics Metrics, which stream over batches and ranks.

What a Metric keeps between batches is float64 moments, sums, or the rows themselves. So a set gets
its value in any split into batches and ranks, some of which may be empty.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

from graphkd._checks import check_count, check_row_ids
from graphkd._precision import exact, full_precision, upcast
from graphkd.diagnostics._gate import matched_sides, unit_side
from graphkd.diagnostics._moments import Moments, merge, no_moments, side_moments, unpack
from graphkd.diagnostics.alignment import check_debiased, cka, disparity
from graphkd.diagnostics.neighbours import cosine_to_union, nearest, shared
from graphkd.diagnostics.predictions import agreeing, matched_logits, predicted
from graphkd.diagnostics.structure import (
    correlation_of_edges,
    correlation_of_pairs,
    edge_moments,
)

__all__ = [
    "Agreement",
    "GlobalStructureCorrelation",
    "LinearCKA",
    "LocalStructureCorrelation",
    "NeighbourOverlap",
    "ProcrustesDisparity",
    "SecondOrderCosine",
]

# The dtypes of what is gathered: rows, moments and ids.
_DTYPES = (torch.float32, torch.float64, torch.int64)
# The id of a row that is a node of its own.
_NEW = -1


class _Streamed(Metric):
    """What all have in common: states keep their dtype, and ranks without rows fit in."""

    is_differentiable = False
    higher_is_better: bool | None = True
    full_state_update = False

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> Any:
        """Move the states; conversions, as of a model to half precision, leave them alone."""

        def moved(x: Tensor) -> Tensor:
            like = fn(x.new_empty(0))
            return fn(x) if like.dtype == x.dtype else x.to(like.device)

        return super()._apply(moved, *args, **kwargs)

    def _sync_dist(
        self,
        dist_sync_fn: Callable[..., Any] = gather_all_tensors,
        process_group: Any | None = None,
    ) -> None:
        """Gather the states; a rank without rows learns their form from the others."""
        group = process_group or self.process_group
        for name, default in self._defaults.items():
            if not isinstance(default, list):
                continue
            parts = getattr(self, name)
            mine = torch.cat(parts) if parts else None
            kind = [0, 0] if mine is None else [mine.size(1), _DTYPES.index(mine.dtype)]
            kinds = torch.stack(dist_sync_fn(torch.tensor(kind, device=self.device), group=group))
            width, dtype = (int(x) for x in kinds.amax(dim=0))
            if bool(((kinds[:, 0] != 0) & (kinds[:, 0] != width)).any()):
                raise ValueError(
                    f"{type(self).__name__}: the rows of all ranks must have the same widths; got "
                    f"states of {kinds[:, 0].tolist()} columns. Compare the same layers everywhere."
                )
            if mine is None:
                mine = torch.zeros(0, width, device=self.device)
            setattr(self, name, [mine.to(_DTYPES[dtype])])
        super()._sync_dist(dist_sync_fn, process_group=process_group)

    def _check_widths(self, new: tuple[int, int], old: tuple[int, int]) -> None:
        """Raise if the rows of a batch do not fit those of earlier ones."""
        if new != old:
            raise ValueError(
                f"{type(self).__name__}: h_s and h_t must have the widths of earlier batches; got "
                f"{new[0]} and {new[1]} after {old[0]} and {old[1]}. Call .reset() first, or use a "
                "Metric for each pair of layers."
            )


class _OfMoments(_Streamed):
    """Keeps the moments of all rows so far, each as a packed row."""

    moments: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("moments", default=[], dist_reduce_fx="cat")

    def _add(self, new: Moments) -> None:
        """Merge the moments of a batch into those of all."""
        if new.n == 0:
            return
        for old in self._kept(new.mean.device):
            self._check_widths(new.widths, old.widths)
            new = merge(old, new)
        self.moments = [new.pack()]

    def _reduce_states(self, incoming_state: dict[str, Any]) -> None:
        """Keep one row, where torchmetrics would keep one for each batch of ``forward``."""
        super()._reduce_states(incoming_state)
        total = self._total()
        self.moments = [total.pack()] if total.n else []

    def _kept(self, device: torch.device) -> list[Moments]:
        """The moments of earlier batches, or of the ranks."""
        rows = (row for part in self.moments for row in part.view(-1, part.size(-1)))
        return [unpack(row.to(device)) for row in rows]

    def _total(self) -> Moments:
        """The moments of all rows."""
        none = no_moments(1, 1, torch.empty(0, device=self.device))
        return functools.reduce(merge, self._kept(self.device), none)


class _OfSpaces(_OfMoments):
    """Its moments are those of the rows."""

    def update(self, h_s: Tensor, h_t: Tensor) -> None:
        """Add the rows of a batch."""
        h_s, h_t = matched_sides(type(self).__name__, h_s, h_t)
        with torch.no_grad(), full_precision(h_s.device):
            self._add(side_moments(h_s, h_t))


class LinearCKA(_OfSpaces):
    r"""Centred kernel alignment over batches; :func:`linear_cka` says more.

    .. math::
        \frac{\lVert \bar S^\top \bar T\rVert_F^2}
             {\lVert \bar S^\top \bar S\rVert_F \lVert \bar T^\top \bar T\rVert_F}

    Args:
        debiased: As in the function.
        kwargs: What every torchmetrics Metric takes.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **output:** scalar, in float64

    Raises:
        ValueError: If ``debiased`` is not a bool, or a batch has other widths than earlier ones;
            and as the function.

    Example:
        >>> import torch
        >>> from graphkd.diagnostics import LinearCKA
        >>> metric = LinearCKA()
        >>> h_t = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> metric.update(h_t[:3, :1], h_t[:3])
        >>> metric.update(h_t[3:, :1], h_t[3:])
        >>> metric.compute()
        tensor(0.7071, dtype=torch.float64)
    """

    def __init__(self, *, debiased: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_debiased("LinearCKA", debiased)
        self.debiased = debiased

    def compute(self) -> Tensor:
        """The alignment of all rows so far."""
        return cka(self._total().second, debiased=self.debiased)


class ProcrustesDisparity(_OfSpaces):
    r"""The Procrustes disparity over batches; :func:`procrustes_disparity` says more.

    .. math:: 1 - \lVert \bar S^\top \bar T\rVert_*^2

    Args:
        kwargs: What every torchmetrics Metric takes.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **output:** scalar, in float64

    Raises:
        ValueError: If a batch has other widths than earlier ones; and as the function.

    Example:
        >>> import torch
        >>> from graphkd.diagnostics import ProcrustesDisparity
        >>> metric = ProcrustesDisparity()
        >>> h_t = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> metric.update(h_t[:, :1], h_t)
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)
    """

    higher_is_better = False

    def compute(self) -> Tensor:
        """The disparity of all rows so far."""
        return disparity(self._total().second)


class GlobalStructureCorrelation(_OfMoments):
    r"""The correlation of all pairs' cosines over batches.

    :func:`global_structure_correlation` says more. Pairs of rows from two batches, or ranks, count
    like all others.

    .. math:: \mathrm{corr}_{i < j}\left(\cos(s_i, s_j), \cos(t_i, t_j)\right)

    Args:
        kwargs: What every torchmetrics Metric takes.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **output:** scalar, in float64

    Raises:
        ValueError: If a batch has other widths than earlier ones; and as the function.

    Example:
        >>> import torch
        >>> from graphkd.diagnostics import GlobalStructureCorrelation
        >>> metric = GlobalStructureCorrelation()
        >>> metric.update(torch.tensor([[1.0, 0.0], [2.0, 0.0]]), torch.tensor([[1.0, 0], [1, 1]]))
        >>> metric.update(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 1.0]]))
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)
    """

    def update(self, h_s: Tensor, h_t: Tensor) -> None:
        """Add the rows of a batch."""
        h_s, h_t = matched_sides("GlobalStructureCorrelation", h_s, h_t)
        with torch.no_grad(), full_precision(h_s.device):
            self._add(side_moments(h_s, h_t, unit=True))

    def compute(self) -> Tensor:
        """The correlation over all pairs of rows so far."""
        return correlation_of_pairs(self._total().second)


class LocalStructureCorrelation(_OfMoments):
    r"""The correlation of the edges' cosines over batches, each with its edges.

    :func:`local_structure_correlation` says more. An edge in two batches counts twice; so give each
    batch the edges into its seeds.

    .. math::
        \mathrm{corr}_{(j, i) \in E,\, j \ne i}\left(\cos(s_j, s_i), \cos(t_j, t_i)\right)

    Args:
        kwargs: What every torchmetrics Metric takes.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **edge_index:** :math:`[2, E]`, by the rows of the batch
        - **output:** scalar, in float64

    Raises:
        ValueError: As the function.
        IndexError: If an edge names a row that the batch does not have.

    Example:
        >>> import torch
        >>> from graphkd.diagnostics import LocalStructureCorrelation
        >>> metric = LocalStructureCorrelation()
        >>> h_t = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
        >>> h_s = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
        >>> for edge in ([[0], [1]], [[0], [2]], [[1], [2]]):
        ...     metric.update(h_s, h_t, torch.tensor(edge))
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)
    """

    def update(self, h_s: Tensor, h_t: Tensor, edge_index: Any) -> None:
        """Add the edges of a batch."""
        name = "LocalStructureCorrelation"
        h_s, h_t = matched_sides(name, h_s, h_t)
        with torch.no_grad(), full_precision(h_s.device):
            self._add(edge_moments(name, h_s, h_t, edge_index))

    def compute(self) -> Tensor:
        """The correlation over all edges so far."""
        return correlation_of_edges(self._total())


class _OfNeighbours(_Streamed):
    """Keeps the rows themselves, as nearest neighbours are known only when all rows are."""

    rows_s: list[Tensor]
    rows_t: list[Tensor]
    ids: list[Tensor]

    def __init__(self, k: int = 10, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_count(f"{type(self).__name__}: k", k, least=1)
        self.k = k
        for name in ("rows_s", "rows_t", "ids"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, h_s: Tensor, h_t: Tensor, ids: Tensor | None = None) -> None:
        """Add the rows of a batch, which counts a node once if its id is known."""
        name = type(self).__name__
        h_s, h_t = matched_sides(name, h_s, h_t)
        if ids is None:
            ids = torch.full(h_s.shape[:1], _NEW, device=h_s.device)
        else:
            check_row_ids(name, "ids", ids, h_s, "node ids", "Pass batch.n_id.")
            if bool((ids < 0).any()):
                raise ValueError(
                    f"{name}: ids must not be negative; got {int(ids.min())}. Leave ids out if "
                    "each row is a node of its own."
                )
        if h_s.size(0) == 0:
            return
        if self.rows_s:
            old = self.rows_s[0].size(1), self.rows_t[0].size(1)
            self._check_widths((h_s.size(1), h_t.size(1)), old)
        # Copies: a user may write new rows over these.
        self.rows_s.append(upcast(h_s).clone())
        self.rows_t.append(upcast(h_t).clone())
        self.ids.append(ids.long().view(-1, 1).clone())

    def _nodes(self) -> tuple[Tensor, Tensor] | None:
        """Each node's first row so far, by id; None while no node has k others."""
        if len(self.ids) == 0:
            return None
        s, t, ids = (_joined(x) for x in (self.rows_s, self.rows_t, self.ids))
        ids, order = ids.view(-1).sort(stable=True)
        first = torch.ones_like(ids, dtype=torch.bool)
        first[1:] = (ids[1:] != ids[:-1]) | (ids[1:] == _NEW)
        chosen = order[first]
        return (s[chosen], t[chosen]) if chosen.size(0) > self.k else None

    def _undefined(self) -> Tensor:
        return exact(torch.full((), torch.nan, device=self.device))


class NeighbourOverlap(_OfNeighbours):
    r"""The overlap of nearest neighbours over batches; :func:`neighbour_overlap` says more.

    .. math::
        \frac1N \sum_i \frac{\lvert \mathrm{kNN}_s(i) \cap \mathrm{kNN}_t(i)\rvert}{k}

    It keeps all rows, and compares them in ``compute``. With ``ids``, nodes are numbered by them,
    and one that comes twice counts by its first row: as in overlapping batches, or where a sampler
    repeats rows to fill up a rank. Without, each row is a node of its own.

    Args:
        k: The number of neighbours. While there are no more nodes than that, the value is NaN.
        kwargs: What every torchmetrics Metric takes.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **ids:** :math:`[N]`
        - **output:** scalar, in float64

    Raises:
        ValueError: If ``k`` is below 1, ids are negative, or a batch has other widths than earlier
            ones; and as the function.
        TypeError: If ``ids`` are not integers; and as the function.

    Example:
        >>> import torch
        >>> from graphkd.diagnostics import NeighbourOverlap
        >>> metric = NeighbourOverlap(k=1)
        >>> h_t = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
        >>> h_s = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.8, 0.2], [0.1, 0.9]])
        >>> for ids in (torch.tensor([0, 1, 2]), torch.tensor([2, 3])):
        ...     metric.update(h_s[ids], h_t[ids], ids)
        >>> metric.compute()
        tensor(0.7500, dtype=torch.float64)
    """

    def compute(self) -> Tensor:
        """The overlap of all nodes so far."""
        nodes = self._nodes()
        if nodes is None:
            return self._undefined()
        return shared(*(nearest(unit_side(h), self.k) for h in nodes))


class SecondOrderCosine(_OfNeighbours):
    r"""The second-order cosine over batches; :func:`second_order_cosine` says more.

    .. math::
        \frac1N \sum_i \cos\left(\left(\cos(s_i, s_j)\right)_{j \in U_i},
            \left(\cos(t_i, t_j)\right)_{j \in U_i}\right)

    It keeps all rows, and treats ``ids`` as :class:`NeighbourOverlap` does.

    Args:
        k: The number of neighbours. While there are no more nodes than that, the value is NaN.
        kwargs: What every torchmetrics Metric takes.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **ids:** :math:`[N]`
        - **output:** scalar, in float64

    Raises:
        ValueError: As :class:`NeighbourOverlap`.
        TypeError: As :class:`NeighbourOverlap`.

    Example:
        >>> import torch
        >>> from graphkd.diagnostics import SecondOrderCosine
        >>> metric = SecondOrderCosine(k=1)
        >>> h_t = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
        >>> h_s = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.8, 0.2], [0.1, 0.9]])
        >>> metric.update(h_s, h_t)
        >>> metric.compute()
        tensor(0.8584, dtype=torch.float64)
    """

    def compute(self) -> Tensor:
        """The cosine of all nodes so far."""
        nodes = self._nodes()
        if nodes is None:
            return self._undefined()
        s, t = (unit_side(h) for h in nodes)
        return cosine_to_union(s, t, nearest(s, self.k), nearest(t, self.k))


class Agreement(_Streamed):
    r"""The share of equal predictions over batches; :func:`agreement` says more.

    .. math::
        \frac1N \sum_i \left[\arg\max_c z^s_{ic} = \arg\max_c z^t_{ic}\right]

    Args:
        kwargs: What every torchmetrics Metric takes.

    Shapes:
        - **z_s:** :math:`[N, C]`
        - **z_t:** :math:`[N, C]`
        - **output:** scalar, in float64

    Raises:
        ValueError: As the function.
        TypeError: As the function.

    Example:
        >>> import torch
        >>> from graphkd.diagnostics import Agreement
        >>> metric = Agreement()
        >>> metric.update(torch.eye(2), torch.eye(2))
        >>> metric.update(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]]))
        >>> metric.compute()
        tensor(0.6667, dtype=torch.float64)
    """

    same: Tensor
    rows: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        zero = torch.zeros((), dtype=torch.float64)
        self.add_state("same", default=zero, dist_reduce_fx="sum")
        self.add_state("rows", default=zero.clone(), dist_reduce_fx="sum")

    def update(self, z_s: Tensor, z_t: Tensor) -> None:
        """Add the rows of a batch."""
        z_s, z_t = matched_logits("Agreement", z_s, z_t)
        self.same = self.same + agreeing(predicted(z_s), predicted(z_t)).sum()
        self.rows = self.rows + z_s.size(0)

    def compute(self) -> Tensor:
        """The share of all rows so far."""
        return self.same / self.rows


def _joined(parts: list[Tensor] | Tensor) -> Tensor:
    """A state as one tensor: torchmetrics joins the parts when it gathers them from ranks."""
    return parts if isinstance(parts, Tensor) else torch.cat(parts)
