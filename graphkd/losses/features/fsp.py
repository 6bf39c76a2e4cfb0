"""The flow from one layer to another: FSP matrices."""

from collections.abc import Sequence

from torch import Tensor

from graphkd.functional._options import check_blocked_options
from graphkd.functional.features.fsp import fsp_loss
from graphkd.losses._base import DistillationLoss


class FSPLoss(DistillationLoss):
    r"""Flow of the solution procedure (FSP): how the features of two layers go together.

    .. math:: L = \mathrm{mean}_g \tfrac1{d_1 d_2} \lVert F^s_g - F^t_g \rVert_F^2

    with the flow :math:`F_g = \mathrm{mean}_{i \in g}\, a_i b_i^\top` of each graph g, from its
    nodes' rows a in the first layer and b in the second. It has no parameters.
    :func:`graphkd.functional.fsp_loss` explains the terms, and names errors and source.

    Args:
        backend, chunk_size: As in the function.

    Shapes:
        - **h_s, h_t:** two layers each, :math:`[N, d_1]` and :math:`[N, d_2]`
        - **batch:** the graph of each node, :math:`[N]`; default: all are one graph
        - **output:** a scalar, the mean over the graphs

    Example:
        >>> import torch
        >>> from graphkd import FSPLoss
        >>> h, graph = torch.ones(4, 1), torch.tensor([0, 0, 1, 1])
        >>> FSPLoss()((h, 3 * h), (h, h), batch=graph)    # (3 - 1)² for either graph
        tensor(4.)
    """

    backend: str
    chunk_size: int | None
    _check_options = staticmethod(check_blocked_options)

    def __init__(self, *, backend: str = "auto", chunk_size: int | None = None) -> None:
        super().__init__(backend=backend, chunk_size=chunk_size)

    def forward(
        self,
        h_s: Sequence[Tensor],
        h_t: Sequence[Tensor],
        batch: Tensor | None = None,
        *,
        weight: Tensor | None = None,
    ) -> Tensor:
        """The loss of the student's two layers against the teacher's."""
        return fsp_loss(h_s, h_t, batch, weight=weight, **self.options)
