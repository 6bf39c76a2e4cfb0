"""Whether nearest neighbours are the same, over batches and ranks: rows are kept by id."""

from typing import Any

import torch
from torch import Tensor

from graphkd._checks import check_count, check_row_ids
from graphkd._precision import exact, upcast
from graphkd.diagnostics._gate import matched_sides, unit_side
from graphkd.diagnostics.metrics._streamed import Streamed
from graphkd.diagnostics.neighbours import cosine_to_union, nearest, shared

# The id of a row that is a node of its own.
_NEW = -1


class _OfNeighbours(Streamed):
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


def _joined(parts: list[Tensor] | Tensor) -> Tensor:
    """A state as one tensor: torchmetrics joins the parts when it gathers them from ranks."""
    return parts if isinstance(parts, Tensor) else torch.cat(parts)
