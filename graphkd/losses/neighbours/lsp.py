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
    r"""Local structure preserving loss (LSP): similarities along the edges as distributions.

    .. math:: L = \operatorname{mean}_i \mathrm{KL}(p^t_i \Vert p^s_i)

    The mean is over the (selected) centres i that have a neighbour, and :math:`p_i` is the softmax
    of the kernel's values :math:`k(h_j, h_i)` on the edges j → i. The loss has no parameters, and
    the widths may differ. If the teacher's rows and the graph stay the same,
    :meth:`precompute` saves their part of each step. :func:`graphkd.functional.lsp_loss` explains
    the kernels, and gives the errors and the source.

    Args:
        kernel: k: ``"linear"``, ``"cosine"``, ``"poly"``, ``"l2"``, ``"rbf"`` or a function of two
            tensors, one row for each edge.
        gamma: Bandwidth of ``"rbf"``: a number, or ``"median"`` to take it from the edge lengths.
        divergence: ``"kl"`` or ``"mse"``.
        reduction: ``"none"`` keeps a value for each selected centre.
        backend: ``"auto"``, ``"reference"``, ``"chunked"``, ``"triton"`` or ``"scatter"``.
        chunk_size: As in the function.
        process_group: Take the loss of the centres of all ranks in this ``torch.distributed``
            group; see :doc:`/distributed`.
        ddp: Whether DistributedDataParallel averages this loss's gradients over the ranks.

    Shapes:
        - **h_s, h_t:** :math:`[N, d_s]` and :math:`[N, d_t]`; for a bipartite graph, a pair
          (sources, targets) each; or h_t from :meth:`precompute`
        - **edge_index:** :math:`[2, E]`, or any format that :class:`graphkd.Graph` takes
        - **weight:** a weight for each centre, :math:`[N]`
        - **edge_weight:** a weight for each edge, :math:`[E]`, unless a Graph holds them
        - **index:** :math:`[M]`, or a mask over the centres
        - **output:** a scalar, or a value for each selected centre

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
    _check_options = staticmethod(check_lsp_options)
    takes_pairs = True

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
        weight: Tensor | None = None,
        edge_weight: Tensor | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """The loss of student embeddings against the teacher's on a graph."""
        return lsp_loss(
            h_s,
            h_t,
            edge_index,
            weight=weight,
            edge_weight=edge_weight,
            index=index,
            **self.options,
        )

    def precompute(
        self,
        h_t: Embeddings,
        edge_index: Any,
        *,
        edge_weight: Tensor | None = None,
        index: Tensor | None = None,
    ) -> LSPTeacher:
        """The teacher's side, to be passed as ``h_t`` in every step with this graph and index.

        See :func:`graphkd.functional.precompute_lsp`.
        """
        kernel, gamma = self.options["kernel"], self.options["gamma"]
        more = {"edge_weight": edge_weight, "index": index}
        return precompute_lsp(h_t, edge_index, kernel=kernel, gamma=gamma, **more)
