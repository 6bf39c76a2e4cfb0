"""VQGraph's row values in their obvious form: every row meets every code, N × K × d."""

from torch import Tensor

from graphkd.ops.divergence import softmax_kl
from graphkd.similarity import KERNELS, Kernel, kernel_rows, row_statistic

# The kernel that compares a row with a code, and its sign: a nearer code is likelier.
SIMILARITIES = {"l2": (KERNELS["l2"], -1.0), "cosine": (KERNELS["cosine"], 1.0)}


def code_divergence(
    x_s: Tensor, x_t: Tensor, codes: Tensor, similarity: str, temperature: float
) -> Tensor:
    """KL(q_i ‖ p_i) for every row i: p, q the softmax over the codes of similarity/temperature."""
    kernel, sign = SIMILARITIES[similarity]
    p, q = (_dense(kernel, x, codes) * (sign / temperature) for x in (x_s, x_t))
    return softmax_kl(q, p)


def _dense(kernel: Kernel, x: Tensor, codes: Tensor) -> Tensor:
    x, codes = kernel_rows(kernel, x), kernel_rows(kernel, codes)
    statistic = row_statistic(kernel, x.unsqueeze(1), codes.unsqueeze(0))
    return kernel.value(statistic, 0.0)
