"""Similarities along the edges of a graph: LSP."""

from typing import Any

from torch import Tensor

from graphkd.functional._precomputed import LSPTeacher
from graphkd.functional.neighbours.lsp import (
    Embeddings,
    check_lsp_options,
    lsp_loss,
    precompute_lsp,
)
from graphkd.losses._base import DistillationLoss
from graphkd.similarity import Gamma, KernelFunction


class LSPLoss(DistillationLoss):
    r"""Local structure preserving loss (LSP).

    .. math::
        p_{ij} = \frac{\exp k(h_j, h_i)}{\sum_{l \to i} \exp k(h_l, h_i)}, \qquad
        L = \frac1{|V|} \sum_{i \in V} \mathrm{KL}(p^t_i \,\Vert\, p^s_i)

    over the (selected) centres V that have a neighbour j → i. It has no parameters, and the widths
    may differ. See :func:`graphkd.functional.lsp_loss`.

    Args:
        kernel: ``"linear"``, ``"cosine"``, ``"poly"``, ``"l2"``, ``"rbf"`` or a function of two
            tensors :math:`[E, d]`.
        gamma: The rbf bandwidth, or ``"median"``.
        divergence: ``"kl"`` or ``"mse"``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value per selected centre).
        backend: ``"auto"``, ``"reference"``, ``"chunked"``, ``"triton"`` or ``"scatter"``.
        chunk_size: Edges per block of the chunked backend.
        process_group: A ``torch.distributed`` group, for the loss of all its ranks' rows; see
            :doc:`/distributed`.
        ddp: Whether DistributedDataParallel is to average this loss's gradients over the ranks.

    Shapes:
        - **h_s:** :math:`[N, d_s]` or :math:`([N_{src}, d_s], [N_{dst}, d_s])`
        - **h_t:** :math:`[N, d_t]` or :math:`([N_{src}, d_t], [N_{dst}, d_t])`
        - **edge_index:** :math:`[2, E]`, or any format that :class:`graphkd.Graph` takes
        - **index:** :math:`[M]`, or a mask over the centres
        - **output:** scalar, or one value per (selected) centre for ``reduction="none"``

    Raises:
        ValueError: If an option is out of range, or row counts, shapes or devices do not fit.
        TypeError: If embeddings are not floating-point tensors or the graph has no known format.
        IndexError: If an edge or ``index`` names a node that does not exist.
        ImportError: If the backend's package, torch_scatter or triton, is not installed.

    Source: Yang et al., CVPR 2020, arXiv 2003.10477.

    Example:
        >>> import torch
        >>> from graphkd import LSPLoss
        >>> h_t = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> h_s = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
        >>> LSPLoss(kernel="l2")(h_s, h_t, torch.tensor([[1, 2], [0, 0]]))
        tensor(0.1989)
    """

    kernel: str | KernelFunction
    gamma: Gamma
    divergence: str
    reduction: str
    backend: str
    chunk_size: int | None
    process_group: Any
    ddp: bool
    check_options = staticmethod(check_lsp_options)

    def __init__(
        self,
        kernel: str | KernelFunction = "cosine",
        *,
        gamma: Gamma = 0.5,
        divergence: str = "kl",
        reduction: str = "mean",
        backend: str = "auto",
        chunk_size: int | None = None,
        process_group: Any = None,
        ddp: bool = True,
    ) -> None:
        super().__init__(
            kernel=kernel,
            gamma=gamma,
            divergence=divergence,
            reduction=reduction,
            backend=backend,
            chunk_size=chunk_size,
            process_group=process_group,
            ddp=ddp,
        )

    def forward(
        self,
        h_s: Embeddings,
        h_t: Embeddings | LSPTeacher,
        edge_index: Any,
        *,
        index: Tensor | None = None,
    ) -> Tensor:
        """The loss of student embeddings against the teacher's on a graph."""
        return lsp_loss(h_s, h_t, edge_index, index=index, **self.options)

    def precompute(
        self, h_t: Embeddings, edge_index: Any, *, index: Tensor | None = None
    ) -> LSPTeacher:
        """The teacher's side, to be passed as ``h_t`` in every step with this graph and index.

        See :func:`graphkd.functional.precompute_lsp`.
        """
        kernel, gamma = self.options["kernel"], self.options["gamma"]
        return precompute_lsp(h_t, edge_index, kernel=kernel, gamma=gamma, index=index)
