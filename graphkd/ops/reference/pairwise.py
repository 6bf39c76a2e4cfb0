"""Global LSP's row values in their obvious form: the kernel of all pairs, N × N.

To try another formula for pairs of nodes, change it here and pass ``backend="reference"``.
"""

from torch import Tensor

from graphkd.ops.reference.edges import row_similarity
from graphkd.similarity import Kernel, KernelFunction, kernel_rows


def pairwise_gap(
    x_s: Tensor,
    x_t: Tensor,
    kernel: Kernel | KernelFunction,
    gamma_s: Tensor,
    gamma_t: Tensor,
    *,
    loss: str,
) -> Tensor:
    """The mean over j of (k(s_i, s_j) − k(t_i, t_j))², for every row i."""
    if isinstance(kernel, Kernel):
        x_s, x_t = kernel_rows(kernel, x_s), kernel_rows(kernel, x_t)
    gap = _dense(x_s, kernel, gamma_s, loss) - _dense(x_t, kernel, gamma_t, loss)
    return gap.square().sum(dim=1) / max(x_s.size(0), 1)


def diagonal_gap(
    x_s: Tensor,
    x_t: Tensor,
    kernel: Kernel | KernelFunction,
    gamma_s: Tensor,
    gamma_t: Tensor,
    *,
    loss: str,
) -> Tensor:
    """k(s_i, s_i) − k(t_i, t_i), for every row i."""
    if isinstance(kernel, Kernel):
        x_s, x_t = kernel_rows(kernel, x_s), kernel_rows(kernel, x_t)
    own_s = row_similarity(kernel, x_s, x_s, gamma_s, loss=loss)
    return own_s - row_similarity(kernel, x_t, x_t, gamma_t, loss=loss)


def _dense(x: Tensor, kernel: Kernel | KernelFunction, gamma: Tensor, loss: str) -> Tensor:
    if isinstance(kernel, Kernel) and kernel.statistic == "dot":
        return kernel.value(x @ x.T, gamma)
    return row_similarity(kernel, x.unsqueeze(1), x.unsqueeze(0), gamma, loss=loss)
