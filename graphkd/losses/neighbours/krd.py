"""Reliable neighbours of the teacher as further targets: KRD."""

from typing import Any

import torch
from torch import Tensor

from graphkd._checks import check_positive
from graphkd._precision import WideBuffers
from graphkd.functional.neighbours.krd import check_krd_options, krd_loss
from graphkd.functional.neighbours.reliability import check_fit_options, fit_reliability_power
from graphkd.losses._base import DistillationLoss


class KRDLoss(WideBuffers, DistillationLoss):
    r"""Knowledge-inspired reliable distillation (KRD): targets of a node and reliable neighbours.

    .. math:: L = \sum w_j\,\mathrm{KL}(q_j \Vert p_i) / \sum w_j, \quad w_j = 1 - (1 - r_j)^\alpha

    Both sums run over the edges j → i between two nodes, and over each node with itself, there with
    weight 1. p and q are the predictions of student and teacher at a temperature.
    :func:`graphkd.functional.measure_reliability` makes the reliabilities r.

    The loss has no parameters. The power :math:`\alpha` is a buffer; :meth:`update_alpha` moves it
    during training. :func:`graphkd.functional.krd_loss` gives the errors and the source.

    Args:
        alpha: The initial power.
        temperature: The divisor of both sides' logits.
        momentum: The part of the old power that :meth:`update_alpha` keeps.
        bins: The number of bins of reliability in :meth:`update_alpha`.
        reduction: ``"none"`` keeps a value for each selected centre; their mean is the loss.

    Shapes:
        - **z_s, z_t:** :math:`[N, C]`
        - **edge_index:** :math:`[2, E]`, or any format that :class:`graphkd.Graph` takes
        - **reliability:** :math:`[N]`, from 0 to 1
        - **weight:** a weight for each centre, :math:`[N]`
        - **edge_weight:** a weight for each edge, :math:`[E]`, unless a Graph holds them
        - **index:** :math:`[M]`, or a mask over the centres
        - **output:** a scalar, or a value for each selected centre

    Example:
        >>> import torch
        >>> from graphkd import KRDLoss
        >>> loss, ring = KRDLoss(temperature=2.0), torch.tensor([[0, 1, 2], [1, 2, 0]])
        >>> loss(torch.zeros(3, 2), torch.eye(3, 2), ring, reliability=torch.ones(3))
        tensor(0.0202)
    """

    temperature: float
    reduction: str
    _check_options = staticmethod(check_krd_options)

    alpha: Tensor
    _wide = ("alpha",)

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
        self._initial = alpha
        self.register_buffer("alpha", torch.tensor(alpha, dtype=torch.float64))

    def reset_parameters(self) -> None:
        """Set the power back to what it was at first."""
        self.alpha.fill_(self._initial)

    def extra_repr(self) -> str:
        """The power and the options, for ``repr``."""
        fit = f"momentum={self.momentum!r}, bins={self.bins!r}"
        alpha = "..." if self.alpha.is_meta else repr(float(self.alpha))
        return f"alpha={alpha}, {super().extra_repr()}, {fit}"

    def forward(
        self,
        z_s: Tensor,
        z_t: Tensor,
        edge_index: Any,
        reliability: Tensor,
        *,
        weight: Tensor | None = None,
        edge_weight: Tensor | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """The loss of student logits against the teacher's on a graph."""
        return krd_loss(
            z_s,
            z_t,
            edge_index,
            reliability,
            alpha=self.alpha,
            weight=weight,
            edge_weight=edge_weight,
            index=index,
            **self.options,
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
