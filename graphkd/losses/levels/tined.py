"""How each operation of a model changes the Dirichlet energy of the embeddings: TINED."""

from typing import Any

from torch import Tensor

from graphkd.functional.levels.tined import Operations, check_tined_options, tined_loss
from graphkd.losses._base import DistillationLoss


class TINEDLoss(DistillationLoss):
    r"""Dirichlet energy distillation (TINED): smooth where the teacher smooths.

    .. math:: L = \sum_l (r^s_l - r^t_l)^2, \qquad r_l = E(A_l) / E(B_l)

    E is the Dirichlet energy of the embeddings :math:`B_l` before and :math:`A_l` after operation
    l. The loss has no parameters, and the widths may differ. :func:`graphkd.functional.tined_loss`
    explains the ratios, and gives the errors and the source.

    Args:
        measure: Compare each ``"ratio"``, its ``"root"`` or its ``"log"``.
        normalized: Take the energies with the symmetrically normalised Laplacian.
        backend, chunk_size: As in the function.

    Shapes:
        - **h_s, h_t:** sequences :math:`([N, d_0], [N, d_1], \dots)` of any widths, before the
          first operation and after each; or sequences of pairs (before, after)
        - **edge_index:** :math:`[2, E]`, or any format that :class:`graphkd.Graph` takes
        - **edge_weight:** a weight for each edge, :math:`[E]`, unless a Graph holds them
        - **output:** a scalar

    Example:
        >>> import torch
        >>> from graphkd import TINEDLoss
        >>> line = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
        >>> x = torch.tensor([[0.0], [1.0], [2.0]])
        >>> TINEDLoss(measure="root")((x, 3 * x), (x, x / 2), line)    # (3 - 1/2)²
        tensor(6.2500)
    """

    measure: str
    normalized: bool
    backend: str
    chunk_size: int | None
    _check_options = staticmethod(check_tined_options)

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

    def forward(
        self,
        h_s: Operations,
        h_t: Operations,
        edge_index: Any,
        *,
        weight: Tensor | None = None,
        edge_weight: Tensor | None = None,
    ) -> Tensor:
        """The loss of the student's operations against the teacher's on a graph."""
        return tined_loss(
            h_s, h_t, edge_index, weight=weight, edge_weight=edge_weight, **self.options
        )
