"""How each operation of a model changes the Dirichlet energy of the embeddings: TINED."""

from typing import Any

from torch import Tensor

from graphkd.functional.levels.tined import Operations, check_tined_options, tined_loss
from graphkd.losses._base import DistillationLoss


class TINEDLoss(DistillationLoss):
    r"""Dirichlet energy distillation (TINED): smooth where the teacher smooths.

    .. math::
        L = \sum_l \left(\frac{E(A^s_l)}{E(B^s_l)} - \frac{E(A^t_l)}{E(B^t_l)}\right)^2, \qquad
        E(X) = \frac1N \operatorname{tr}(X^\top (D - A) X)

    with the embeddings :math:`B_l` before and :math:`A_l` after operation l. It has no parameters,
    and the widths may differ. See :func:`graphkd.functional.tined_loss`.

    Args:
        measure: What is compared: the ``"ratio"``, its ``"root"`` or its ``"log"``.
        normalized: Whether the Laplacian is the symmetrically normalised one.
        backend: ``"auto"``, ``"reference"`` or ``"chunked"``.
        chunk_size: Edges per block of the chunked backend.

    Shapes:
        - **h_s:** :math:`([N, d_0], [N, d_1], \dots)`: before the first operation and after each;
          or pairs (before, after)
        - **h_t:** the same, of other widths
        - **edge_index:** :math:`[2, E]`, or any format that :class:`graphkd.Graph` takes
        - **output:** scalar

    Raises:
        ValueError: If an option is out of range, or the numbers of operations, rows or devices do
            not fit.
        TypeError: If the embeddings are not sequences of floating-point tensors, or the graph has
            no known format.
        IndexError: If an edge names a node that does not exist.

    Source: Zhou, Ding, Shi, Li and Shen, ICML 2025, arXiv 2412.11180.

    Example:
        >>> import torch
        >>> from graphkd import TINEDLoss
        >>> edge_index = torch.tensor([[0, 1], [1, 0]])
        >>> before = torch.tensor([[0.0], [2.0]])
        >>> smooth, sharp = torch.tensor([[0.5], [1.5]]), torch.tensor([[0.0], [4.0]])
        >>> TINEDLoss(measure="root")((before, sharp), (before, smooth), edge_index)
        tensor(2.2500)
    """

    measure: str
    normalized: bool
    backend: str
    chunk_size: int | None
    check_options = staticmethod(check_tined_options)

    def __init__(
        self,
        *,
        measure: str = "ratio",
        normalized: bool = False,
        backend: str = "auto",
        chunk_size: int | None = None,
    ) -> None:
        super().__init__(
            measure=measure, normalized=normalized, backend=backend, chunk_size=chunk_size
        )

    def forward(self, h_s: Operations, h_t: Operations, edge_index: Any) -> Tensor:
        """The loss of the student's operations against the teacher's on a graph."""
        return tined_loss(h_s, h_t, edge_index, **self.options)
