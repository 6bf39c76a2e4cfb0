"""The flow from one layer to another: FSP matrices."""

from collections.abc import Sequence

from torch import Tensor

from graphkd.functional._options import check_blocked_options
from graphkd.functional.features.fsp import fsp_loss
from graphkd.losses._base import DistillationLoss


class FSPLoss(DistillationLoss):
    r"""Flow of the solution procedure (FSP): how features of one layer go with those of another.

    .. math::
        L = \frac1{|G|} \sum_g \frac1{d_1 d_2}
            \left\lVert \frac1{n_g} \sum_{i \in g} \left(
            a^s_i (b^s_i)^\top - a^t_i (b^t_i)^\top \right) \right\rVert_F^2

    with the rows :math:`a_i` of the first layer and :math:`b_i` of the second, over the
    :math:`n_g` nodes of each graph g. It has no parameters; widths of student and teacher must
    agree in either layer. See :func:`graphkd.functional.fsp_loss`.

    Args:
        backend: ``"auto"``, ``"reference"`` or ``"chunked"``.
        chunk_size: Rows per block of the chunked backend.

    Shapes:
        - **h_s:** :math:`([N, d_1], [N, d_2])`
        - **h_t:** :math:`([N, d_1], [N, d_2])`
        - **batch:** :math:`[N]`, the graph of each node; all are one, unless given
        - **output:** scalar

    Raises:
        ValueError: If an option is out of range, or layers, row counts, widths, shapes or devices
            do not fit.
        TypeError: If an input is not a pair of floating-point tensors, or ``batch`` not an integer
            one.

    Source: Yim, Joo, Bae and Kim, CVPR 2017.

    Example:
        >>> import torch
        >>> from graphkd import FSPLoss
        >>> first, second = torch.tensor([[1.0], [1.0]]), torch.tensor([[2.0], [4.0]])
        >>> FSPLoss()((first, second), (first, 2 * second))
        tensor(9.)
    """

    backend: str
    chunk_size: int | None
    check_options = staticmethod(check_blocked_options)

    def __init__(self, *, backend: str = "auto", chunk_size: int | None = None) -> None:
        super().__init__(backend=backend, chunk_size=chunk_size)

    def forward(
        self, h_s: Sequence[Tensor], h_t: Sequence[Tensor], batch: Tensor | None = None
    ) -> Tensor:
        """The loss of the student's two layers against the teacher's."""
        return fsp_loss(h_s, h_t, batch, **self.options)
