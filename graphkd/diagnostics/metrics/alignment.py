"""How well two spaces fit onto each other, over batches and ranks."""

from typing import Any

import torch
from torch import Tensor

from graphkd._checks import check_flag
from graphkd._precision import full_precision
from graphkd.diagnostics._gate import matched_sides
from graphkd.diagnostics._moments import side_moments
from graphkd.diagnostics.alignment import cka, disparity
from graphkd.diagnostics.metrics._streamed import OfMoments


class _OfSpaces(OfMoments):
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
        check_flag("LinearCKA: debiased", debiased)
        self.debiased = debiased

    def compute(self) -> Tensor:
        """The alignment of all rows so far."""
        return cka(self._total().second, debiased=self.debiased)


class ProcrustesDisparity(_OfSpaces):
    r"""The Procrustes disparity over batches; :func:`procrustes_disparity` says more.

    .. math:: 1 - \lVert \bar S^\top \bar T\rVert_*^2

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
