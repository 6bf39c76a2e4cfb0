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

    .. math:: L = \frac1{N^2} \sum_{i,j} \left(k(h^s_i, h^s_j) - k(h^t_i, h^t_j)\right)^2

    It has no parameters and needs no head: the widths may differ. Memory is linear in N. See
    :func:`graphkd.functional.global_lsp_loss`.

    Args:
        kernel: ``"linear"``, ``"cosine"``, ``"poly"``, ``"l2"``, ``"rbf"`` or a function of two
            broadcastable tensors :math:`[\dots, d]`.
        gamma: The rbf bandwidth, or ``"median"``.
        max_samples: Draw at most this many rows anew in each call, without replacement; the value
            is then an unbiased estimate.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (each row's mean over all j).
        backend: ``"auto"``, ``"reference"``, ``"chunked"`` or ``"triton"``.
        chunk_size: Side of the chunked backend's square tiles.
        precision: Of the triton backend's products with ``kernel="poly"``: ``"float32"``,
            ``"tf32"`` or ``"bf16"``.
        process_group: A ``torch.distributed`` group, for the loss of all its ranks' rows; see
            :doc:`/distributed`.
        ddp: Whether DistributedDataParallel is to average this loss's gradients over the ranks.

    Shapes:
        - **h_s:** :math:`[N, d_s]`
        - **h_t:** :math:`[N, d_t]`
        - **index:** :math:`[M]`, or a mask :math:`[N]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If an option is out of range, or row counts, shapes or devices do not fit.
        TypeError: If embeddings are not floating-point tensors.
        IndexError: If ``index`` names a row that does not exist.
        ImportError: If ``backend="triton"`` and triton is not installed.

    Source: Joshi et al., TNNLS 2022, arXiv 2111.04964.

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
    check_options = staticmethod(check_global_lsp_options)

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
        index: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The loss of student embeddings against the teacher's."""
        return global_lsp_loss(h_s, h_t, index=index, generator=generator, **self.options)

    def precompute(self, h_t: Tensor, *, index: Tensor | None = None) -> GlobalLSPTeacher:
        """The teacher's side, to be passed as ``h_t`` in every step with this index.

        See :func:`graphkd.functional.precompute_global_lsp`.
        """
        return precompute_global_lsp(h_t, kernel=self.options["kernel"], index=index)
