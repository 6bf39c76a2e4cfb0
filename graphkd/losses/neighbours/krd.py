"""Reliable neighbours of the teacher as further targets: KRD."""

from typing import Any

import torch
from torch import Tensor

from graphkd._checks import check_positive
from graphkd.functional.neighbours.krd import check_krd_options, krd_loss
from graphkd.functional.neighbours.reliability import check_fit_options, fit_reliability_power
from graphkd.losses._base import DistillationLoss


class KRDLoss(DistillationLoss):
    r"""Knowledge-inspired reliable distillation (KRD): the teacher at a node and where it is sure.

    .. math::
        w_j = 1 - (1 - r_j)^\alpha, \qquad
        L = \frac{\sum_i \left(\mathrm{KL}(q_i \Vert p_i)
              + \sum_{j \to i, j \ne i} w_j\,\mathrm{KL}(q_j \Vert p_i)\right)}
             {\sum_i \left(1 + \sum_{j \to i, j \ne i} w_j\right)}

    with the predictions p of the student and q of the teacher at a temperature, and the
    reliabilities r, which :func:`graphkd.functional.measure_reliability` makes. It has no
    parameters; the power α is a buffer, which :meth:`update_alpha` moves. See
    :func:`graphkd.functional.krd_loss`.

    Args:
        alpha: The power to begin with.
        temperature: The temperature of the predictions.
        momentum: How much of the power an update keeps.
        bins: How many bins of reliability an update makes.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value per selected centre).

    Shapes:
        - **z_s:** :math:`[N, C]`
        - **z_t:** :math:`[N, C]`
        - **edge_index:** :math:`[2, E]`, or any format that :class:`graphkd.Graph` takes
        - **reliability:** :math:`[N]`, from 0 to 1
        - **index:** :math:`[M]`, or a mask over the centres
        - **output:** scalar, or one value per selected centre for ``reduction="none"``

    Raises:
        ValueError: If an option is out of range, or shapes, classes, reliabilities or devices do
            not fit.
        TypeError: If logits are not floating-point tensors or the graph has no known format.
        IndexError: If an edge or ``index`` names a node that does not exist.

    Source: Wu, Lin, Huang and Li, ICML 2023, arXiv 2306.05628.

    Example:
        >>> import torch
        >>> from graphkd import KRDLoss
        >>> z_t = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
        >>> edge_index = torch.tensor([[0, 1], [1, 0]])
        >>> KRDLoss()(z_t, z_t, edge_index, torch.tensor([1.0, 0.0]))
        tensor(0.5077)
    """

    temperature: float
    reduction: str
    check_options = staticmethod(check_krd_options)

    alpha: Tensor

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        temperature: float = 1.0,
        momentum: float = 0.99,
        bins: int = 50,
        reduction: str = "mean",
    ) -> None:
        loss = type(self).__name__
        check_positive(f"{loss}: alpha", alpha)
        check_fit_options(loss, momentum=momentum, bins=bins)
        super().__init__(temperature=temperature, reduction=reduction)
        self.momentum, self.bins = momentum, bins
        self.register_buffer("alpha", torch.tensor(alpha, dtype=torch.float64))

    def extra_repr(self) -> str:
        """The power and the options, for ``repr``."""
        fit = f"momentum={self.momentum!r}, bins={self.bins!r}"
        return f"alpha={float(self.alpha)!r}, {super().extra_repr()}, {fit}"

    def forward(
        self,
        z_s: Tensor,
        z_t: Tensor,
        edge_index: Any,
        reliability: Tensor,
        *,
        index: Tensor | None = None,
    ) -> Tensor:
        """The loss of student logits against the teacher's on a graph."""
        return krd_loss(
            z_s, z_t, edge_index, reliability, alpha=self.alpha, index=index, **self.options
        )

    @torch.no_grad()
    def update_alpha(self, z_s: Tensor, z_t: Tensor, reliability: Tensor) -> None:
        """Move the power to where student and teacher agree at present; once per epoch.

        See :func:`graphkd.functional.fit_reliability_power`.
        """
        alpha = fit_reliability_power(
            z_s, z_t, reliability, alpha=float(self.alpha), momentum=self.momentum, bins=self.bins
        )
        self.alpha.fill_(alpha)
