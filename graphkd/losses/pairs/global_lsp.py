"""Similarities over all pairs of nodes: Global LSP, the paper's GSP."""

from typing import Any

import torch
from torch import Tensor

from graphkd.functional._precomputed import GlobalLSPTeacher
from graphkd.functional.pairs.global_lsp import (
    check_global_lsp_options,
    global_lsp_loss,
    precompute_global_lsp,
)
from graphkd.losses._base import DistillationLoss
from graphkd.similarity import Gamma, KernelFunction


class GlobalLSPLoss(DistillationLoss):
    r"""Global structure preserving loss (GSP, here Global LSP).

    .. math:: L = \lVert K^s - K^t\rVert_F^2 / N^2, \qquad K_{ij} = k(h_i, h_j)

    The loss has no parameters and needs no head: the widths may differ. Memory is linear in N. If
    the teacher's rows stay the same, :meth:`precompute` saves their part of each step.
    :func:`graphkd.functional.global_lsp_loss` gives the costs, the errors and the source.

    Args:
        kernel: k: ``"linear"``, ``"cosine"``, ``"poly"``, ``"l2"``, ``"rbf"`` or a function of two
            broadcastable tensors.
        gamma: Bandwidth of ``"rbf"``: a number, or ``"median"`` to take it from the distances.
        max_samples: Estimate the loss, without a bias, from this many rows drawn in each call.
        reduction: ``"none"`` keeps the mean over j for each row i.
        backend: ``"auto"``, ``"reference"``, ``"chunked"`` or ``"triton"``.
        chunk_size, precision: As in the function.
        process_group: Take the loss of the rows of all ranks in this ``torch.distributed`` group;
            see :doc:`/distributed`.
        ddp: Whether DistributedDataParallel averages this loss's gradients over the ranks.

    Shapes:
        - **h_s, h_t:** :math:`[N, d_s]` and :math:`[N, d_t]`; or h_t from :meth:`precompute`
        - **weight:** a weight for each row, :math:`[N]`
        - **index:** :math:`[M]`, or a mask :math:`[N]`
        - **output:** a scalar, or a value for each selected row

    Example:
        >>> import torch
        >>> from graphkd import GlobalLSPLoss
        >>> loss = GlobalLSPLoss()
        >>> loss(torch.ones(2, 3), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        tensor(0.5000)
    """

    kernel: str | KernelFunction
    gamma: Gamma
    max_samples: int | None
    reduction: str
    backend: str
    chunk_size: int | None
    precision: str
    process_group: Any
    ddp: bool
    _check_options = staticmethod(check_global_lsp_options)

    def __init__(
        self,
        kernel: str | KernelFunction = "cosine",
        *,
        gamma: Gamma = 0.5,
        max_samples: int | None = None,
        reduction: str = "mean",
        backend: str = "auto",
        chunk_size: int | None = None,
        precision: str = "float32",
        process_group: Any = None,
        ddp: bool = True,
    ) -> None:
        super().__init__(
            kernel=kernel,
            gamma=gamma,
            max_samples=max_samples,
            reduction=reduction,
            backend=backend,
            chunk_size=chunk_size,
            precision=precision,
            process_group=process_group,
            ddp=ddp,
        )

    def forward(
        self,
        h_s: Tensor,
        h_t: Tensor | GlobalLSPTeacher,
        *,
        weight: Tensor | None = None,
        index: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        return global_lsp_loss(
            h_s, h_t, weight=weight, index=index, generator=generator, **self.options
        )

    def precompute(self, h_t: Tensor, *, index: Tensor | None = None) -> GlobalLSPTeacher:
        """The teacher's side, to be passed as ``h_t`` in every step with this index.

        See :func:`graphkd.functional.precompute_global_lsp`.
        """
        return precompute_global_lsp(h_t, kernel=self.options["kernel"], index=index)
