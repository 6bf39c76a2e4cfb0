"""Low and high frequencies of the teacher's predictions over the graph: FF-G2M."""

from typing import Any

from torch import Tensor

from graphkd.functional.neighbours.ff_g2m import check_ff_g2m_options, ff_g2m_loss
from graphkd.losses._base import DistillationLoss


class FFG2MLoss(DistillationLoss):
    r"""Full-frequency distillation (FF-G2M): how predictions agree and differ along edges.

    .. math:: L = w_L \operatorname{mean} D(q_j, p_i) + w_H \operatorname{mean} D(q_{ij}, p_{ij})

    D is the KL divergence. The means are over the edges j → i between two nodes, the first one also
    over each node with itself. :math:`p_i` and :math:`q_i` are the softmaxes of student and
    teacher, :math:`p_{ij}` and :math:`q_{ij}` those of the absolute differences of their logits
    along an edge. The loss has no parameters. :func:`graphkd.functional.ff_g2m_loss` links to both
    terms, and gives the errors and the source.

    Args:
        low_weight, high_weight: :math:`w_L` and :math:`w_H`; 0 leaves a term out.
        low_temperature, high_temperature: Divisors of the logits and of their differences.
        reduction: ``"none"`` keeps a value for each selected centre; their mean is the loss.
        backend, chunk_size: As in the function.

    Shapes:
        - **z_s, z_t:** :math:`[N, C]`
        - **edge_index:** :math:`[2, E]`, or any format that :class:`graphkd.Graph` takes
        - **weight:** a weight for each centre, :math:`[N]`
        - **edge_weight:** a weight for each edge, :math:`[E]`, unless a Graph holds them
        - **index:** :math:`[M]`, or a mask over the centres
        - **output:** a scalar, or a value for each selected centre

    Example:
        >>> import torch
        >>> from graphkd import FFG2MLoss
        >>> ring = torch.tensor([[0, 1, 2], [1, 2, 0]])
        >>> FFG2MLoss(high_weight=0.5)(torch.zeros(3, 2), torch.eye(3, 2), ring)
        tensor(0.0915)
    """

    low_weight: float
    high_weight: float
    low_temperature: float
    high_temperature: float
    reduction: str
    backend: str
    chunk_size: int | None
    _check_options = staticmethod(check_ff_g2m_options)

    def __init__(
        self,
        *,
        low_weight: float = 1.0,
        high_weight: float = 1.0,
        low_temperature: float = 1.0,
        high_temperature: float = 1.5,
        reduction: str = "mean",
        backend: str = "auto",
        chunk_size: int | None = None,
    ) -> None:
        super().__init__(
            low_weight=low_weight,
            high_weight=high_weight,
            low_temperature=low_temperature,
            high_temperature=high_temperature,
            reduction=reduction,
            backend=backend,
            chunk_size=chunk_size,
        )

    def forward(
        self,
        z_s: Tensor,
        z_t: Tensor,
        edge_index: Any,
        *,
        weight: Tensor | None = None,
        edge_weight: Tensor | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """The loss of student logits against the teacher's on a graph."""
        return ff_g2m_loss(
            z_s,
            z_t,
            edge_index,
            weight=weight,
            edge_weight=edge_weight,
            index=index,
            **self.options,
        )
