"""G-CRD's row values, a block of anchors against all keys at a time."""

import torch
from torch import Tensor

from graphkd._precision import full_precision
from graphkd.ops._autograd import block_size, differentiable, empty_gradient


def infonce(p: Tensor, q: Tensor, temperature: float, chunk_size: int | None) -> Tensor:
    """−log softmax_j(⟨p_i, q_j⟩ / temperature) at j = i, in blocks of anchors i."""
    return _infonce(p, q, temperature, block_size(chunk_size, p.size(0)))


@torch.library.custom_op("graphkd::infonce", mutates_args=())
def _infonce_op(p: Tensor, q: Tensor, temperature: float, block: int) -> Tensor:
    with full_precision(p.device):
        own = (p * q).sum(dim=1)
        values = p.new_empty(p.size(0))
        for start in range(0, p.size(0), block):
            rows = slice(start, start + block)
            margins = _margins(p, q, own, temperature, rows)
            # log(1 + Σ_{j≠i} exp((s_ij − s_ii)/τ)): exact near zero, where 1 would absorb the sum.
            values[rows] = torch.logaddexp(margins.logsumexp(dim=1), margins.new_zeros(()))
        # A row that is its own only key has no margin in which a NaN would show.
        values += own - own
        return values


@torch.library.custom_op("graphkd::infonce_backward", mutates_args=())
def _infonce_backward_op(
    grad: Tensor,
    values: Tensor,
    p: Tensor,
    q: Tensor,
    temperature: float,
    block: int,
    need_p: bool,
    need_q: bool,
) -> tuple[Tensor, Tensor]:
    with full_precision(p.device):
        own = (p * q).sum(dim=1)
        grad_p = torch.empty_like(p) if need_p else p.new_empty(0)
        grad_q = torch.zeros_like(q) if need_q else q.new_empty(0)
        for start in range(0, p.size(0), block):
            rows = slice(start, start + block)
            weights = _margins(p, q, own, temperature, rows)
            weights.sub_(values[rows, None]).exp_().mul_(grad[rows, None] / temperature)
            # A row's weights sum to zero: what its negatives get, its own positive loses.
            weights.diagonal(start).copy_(-weights.sum(dim=1))
            if need_p:
                grad_p[rows] = weights @ q
            if need_q:
                grad_q.addmm_(weights.T, p[rows])
        return grad_p, grad_q


def _margins(p: Tensor, q: Tensor, own: Tensor, temperature: float, rows: slice) -> Tensor:
    """(s_ij − s_ii)/τ of a block of anchors, −∞ at the positive itself."""
    margins = (p[rows] @ q.T).sub_(own[rows, None]).div_(temperature)
    margins.diagonal(rows.start).fill_(-torch.inf)
    return margins


@_infonce_op.register_fake
def _(p: Tensor, q: Tensor, temperature: float, block: int) -> Tensor:
    return p.new_empty(p.size(0))


@_infonce_backward_op.register_fake
def _(
    grad: Tensor,
    values: Tensor,
    p: Tensor,
    q: Tensor,
    temperature: float,
    block: int,
    need_p: bool,
    need_q: bool,
) -> tuple[Tensor, Tensor]:
    return empty_gradient(p, need_p), empty_gradient(q, need_q)


_infonce = differentiable(
    torch.ops.graphkd.infonce.default, torch.ops.graphkd.infonce_backward.default
)
