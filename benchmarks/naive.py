"""The losses in plain PyTorch, with whole matrices and gathers, which the benchmarks compare with.

Each gives the value of the function of the same name in graphkd.functional, at that function's
defaults. Each is as fast as a few lines allow: l2 and rbf take distances from the Gram matrix
instead of torch.cdist.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

TEMPERATURE = 0.075


def rbf_gamma(width: int) -> float:
    """A bandwidth at which the values of independent normal rows are neither 0 nor 1."""
    return 1 / (4 * width)


def _logits(h_s: Tensor, h_t: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    logits = F.normalize(h_s) @ F.normalize(h_t).T / temperature
    return logits, torch.arange(len(h_s), device=h_s.device)


def gcrd(h_s: Tensor, h_t: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    return F.cross_entropy(*_logits(h_s, h_t, temperature))


def gcrd_symmetric(h_s: Tensor, h_t: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    logits, own = _logits(h_s, h_t, temperature)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def _squared_distances(h: Tensor) -> Tensor:
    norms = h.square().sum(1)
    return norms[:, None] + norms - 2 * h @ h.T


def global_lsp_linear(h_s: Tensor, h_t: Tensor) -> Tensor:
    return F.mse_loss(h_s @ h_s.T, h_t @ h_t.T)


def global_lsp_cosine(h_s: Tensor, h_t: Tensor) -> Tensor:
    s, t = F.normalize(h_s), F.normalize(h_t)
    return F.mse_loss(s @ s.T, t @ t.T)


def global_lsp_poly(h_s: Tensor, h_t: Tensor) -> Tensor:
    s, t = F.normalize(h_s), F.normalize(h_t)
    return F.mse_loss((s @ s.T) ** 2, (t @ t.T) ** 2)


def global_lsp_l2(h_s: Tensor, h_t: Tensor) -> Tensor:
    # The small clamp is there because a square root has no gradient at 0.
    s, t = (_squared_distances(h).clamp(min=1e-12).sqrt() for h in (h_s, h_t))
    return F.mse_loss(s, t)


def global_lsp_rbf(h_s: Tensor, h_t: Tensor) -> Tensor:
    s, t = (
        torch.exp(-rbf_gamma(h.size(1)) * _squared_distances(h).clamp(min=0)) for h in (h_s, h_t)
    )
    return F.mse_loss(s, t)


def _edge_log_softmax(x: Tensor, centre: Tensor, num_nodes: int) -> Tensor:
    """log softmax over the edges into each centre."""
    top = x.detach().new_zeros(num_nodes).scatter_reduce(
        0, centre, x.detach(), "amax", include_self=False
    )  # fmt: skip
    x = x - top[centre]
    return x - x.new_zeros(num_nodes).index_add(0, centre, x.exp()).log()[centre]


def _edge_divergence(s: Tensor, t: Tensor, centre: Tensor, num_nodes: int) -> Tensor:
    log_p = _edge_log_softmax(s, centre, num_nodes)
    log_q = _edge_log_softmax(t, centre, num_nodes)
    total = F.kl_div(log_p, log_q, reduction="sum", log_target=True)
    return total / (torch.bincount(centre, minlength=num_nodes) > 0).sum()


def _lsp(kernel: str, h_s: Tensor, h_t: Tensor, edge_index: Tensor) -> Tensor:
    src, dst = edge_index

    def values(h: Tensor) -> Tensor:
        x, y = h[src], h[dst]
        if kernel == "linear":
            return (x * y).sum(1)
        if kernel == "l2":
            return (x - y).norm(dim=1)
        if kernel == "rbf":
            return torch.exp(-rbf_gamma(h.size(1)) * (x - y).square().sum(1))
        cosine = F.cosine_similarity(x, y)
        return cosine**2 if kernel == "poly" else cosine

    return _edge_divergence(values(h_s), values(h_t), dst, len(h_s))


def lsp_linear(h_s: Tensor, h_t: Tensor, edge_index: Tensor) -> Tensor:
    return _lsp("linear", h_s, h_t, edge_index)


def lsp_cosine(h_s: Tensor, h_t: Tensor, edge_index: Tensor) -> Tensor:
    return _lsp("cosine", h_s, h_t, edge_index)


def lsp_poly(h_s: Tensor, h_t: Tensor, edge_index: Tensor) -> Tensor:
    return _lsp("poly", h_s, h_t, edge_index)


def lsp_l2(h_s: Tensor, h_t: Tensor, edge_index: Tensor) -> Tensor:
    return _lsp("l2", h_s, h_t, edge_index)


def lsp_rbf(h_s: Tensor, h_t: Tensor, edge_index: Tensor) -> Tensor:
    return _lsp("rbf", h_s, h_t, edge_index)


def lsp_unit_rows(h_s: Tensor, h_t: Tensor, edge_index: Tensor) -> Tensor:
    """LSP by cosine, written with care: it normalises each row once and gathers by index_select."""
    src, dst = edge_index
    s, t = (
        (h.index_select(0, src) * h.index_select(0, dst)).sum(1)
        for h in (F.normalize(h_s), F.normalize(h_t))
    )
    return _edge_divergence(s, t, dst, len(h_s))


def kd(z_s: Tensor, z_t: Tensor) -> Tensor:
    t = 4.0
    p, q = F.log_softmax(z_s / t, 1), F.softmax(z_t / t, 1)
    return t * t * F.kl_div(p, q, reduction="batchmean")


def kd_multilabel(z_s: Tensor, z_t: Tensor) -> Tensor:
    t = 4.0
    q = torch.sigmoid(z_t / t)
    entropy = F.binary_cross_entropy_with_logits(z_t / t, q)
    return t * t * (F.binary_cross_entropy_with_logits(z_s / t, q) - entropy)


def kd_regression(z_s: Tensor, z_t: Tensor) -> Tensor:
    return F.mse_loss(z_s, z_t)


def fitnet(h_s: Tensor, h_t: Tensor) -> Tensor:
    return F.mse_loss(F.normalize(h_s), F.normalize(h_t))


def attention_transfer(h_s: Tensor, h_t: Tensor) -> Tensor:
    s, t = (F.normalize(h.square().sum(1), dim=0) for h in (h_s, h_t))
    return F.mse_loss(s, t)
