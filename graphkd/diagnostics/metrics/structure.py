"""Whether similarities within either space go together, over batches and ranks."""

from typing import Any

import torch
from torch import Tensor

from graphkd._precision import full_precision
from graphkd.diagnostics._gate import matched_sides
from graphkd.diagnostics._moments import side_moments
from graphkd.diagnostics.metrics._streamed import OfMoments
from graphkd.diagnostics.structure import (
    correlation_of_edges,
    correlation_of_pairs,
    edge_moments,
)


class GlobalStructureCorrelation(OfMoments):
    r"""The correlation of all pairs' cosines over batches.

    :func:`global_structure_correlation` says more. Pairs of rows from two batches, or ranks, count
    like all others.

    .. math:: \mathrm{corr}_{i < j}\left(\cos(s_i, s_j), \cos(t_i, t_j)\right)

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


class LocalStructureCorrelation(OfMoments):
    r"""The correlation of the edges' cosines over batches, each with its edges.

    :func:`local_structure_correlation` says more. An edge in two batches counts twice; so give each
    batch the edges into its seeds.

    .. math::
        \mathrm{corr}_{(j, i) \in E,\, j \ne i}\left(\cos(s_j, s_i), \cos(t_j, t_i)\right)

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
