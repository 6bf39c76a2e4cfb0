"""Low and high frequencies of the teacher's predictions over the graph: FF-G2M."""

from typing import Any

from torch import Tensor

from graphkd.functional.neighbours.ff_g2m import check_ff_g2m_options, ff_g2m_loss
from graphkd.losses._base import DistillationLoss


class FFG2MLoss(DistillationLoss):
    r"""Full-frequency distillation (FF-G2M): what predictions share along edges, and what not.

    .. math::
        L = \frac{w_\text{low}}{|P|} \sum_{(j, i) \in P} \mathrm{KL}\left(
                \sigma(z^t_j/T_\text{low}) \,\Vert\, \sigma(z^s_i/T_\text{low})\right)
          + \frac{w_\text{high}}{|P'|} \sum_{(j, i) \in P'} \mathrm{KL}\left(
                \sigma(|z^t_j - z^t_i|/T_\text{high}) \,\Vert\,
                \sigma(|z^s_j - z^s_i|/T_\text{high})\right)

    over the edges j → i between two nodes, P', and these with a self loop at each node, P. It has
    no parameters. See :func:`graphkd.functional.ff_g2m_loss`.

    Args:
        low_weight: The weight of the low frequencies; 0 switches them off.
        high_weight: The weight of the high frequencies; 0 switches them off.
        low_temperature: The temperature of the predictions.
        high_temperature: The temperature of the differences.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value per selected centre).
        backend: ``"auto"``, ``"reference"`` or ``"chunked"``, for the high frequencies.
        chunk_size: Edges per block of the chunked backend.

    Shapes:
        - **z_s:** :math:`[N, C]`
        - **z_t:** :math:`[N, C]`
        - **edge_index:** :math:`[2, E]`, or any format that :class:`graphkd.Graph` takes
        - **index:** :math:`[M]`, or a mask over the centres
        - **output:** scalar, or one value per selected centre for ``reduction="none"``

    Raises:
        ValueError: If an option is out of range, or shapes, classes or devices do not fit.
        TypeError: If logits are not floating-point tensors or the graph has no known format.
        IndexError: If an edge or ``index`` names a node that does not exist.

    Source: Wu, Lin, Huang, Fan and Li, AAAI 2023, arXiv 2305.10758.

    Example:
        >>> import torch
        >>> from graphkd import FFG2MLoss
        >>> z_t = torch.tensor([[3.0, 0.0], [0.0, 0.0]])
        >>> FFG2MLoss(low_weight=0)(torch.zeros(2, 2), z_t, torch.tensor([[0, 1], [1, 0]]))
        tensor(0.3278)
    """

    low_weight: float
    high_weight: float
    low_temperature: float
    high_temperature: float
    reduction: str
    backend: str
    chunk_size: int | None
    check_options = staticmethod(check_ff_g2m_options)

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
        self, z_s: Tensor, z_t: Tensor, edge_index: Any, *, index: Tensor | None = None
    ) -> Tensor:
        """The loss of student logits against the teacher's on a graph."""
        return ff_g2m_loss(z_s, z_t, edge_index, index=index, **self.options)
