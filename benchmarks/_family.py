"""The losses beyond the paper's six, as benchmarks/family.py calls them, and their plain forms."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

import graphkd.functional as G


class Inputs(NamedTuple):
    h_s: Tensor
    h_t: Tensor
    edges: Tensor
    bank: Tensor  # unit rows, one for each node
    codes: Tensor
    context: Tensor  # nodes to score with each node
    clusters: Tensor
    paths: Tensor


def make_inputs(nodes: int, width: int) -> Inputs:
    torch.manual_seed(0)
    edges = torch.randint(0, nodes, (2, 10 * nodes))
    return Inputs(
        torch.randn(nodes, width, requires_grad=True),
        torch.randn(nodes, width),
        edges,
        F.normalize(torch.randn(nodes, width)),
        torch.randn(512, width),
        torch.randint(0, nodes, (nodes, 12)),
        torch.randint(0, 100, (nodes,)),
        torch.randint(0, nodes, (nodes // 10, 8)),
    )


Step = Callable[[Inputs], Tensor]
# Logits are as wide as embeddings here, so that no loss looks small because of few classes.
STEPS: dict[str, Step] = {
    "KD, standardised": lambda x: G.kd_loss(x.h_s, x.h_t, standardize=True),
    "DKD": lambda x: G.dkd_loss(x.h_s, x.h_t, x.h_t.argmax(dim=1)),
    "DIST": lambda x: G.dist_loss(x.h_s, x.h_t),
    "VID": lambda x: G.vid_loss(x.h_s, x.h_t, torch.zeros(x.h_t.size(1))),
    "NST": lambda x: G.nst_loss(x.h_s, x.h_t),
    "AB": lambda x: G.ab_loss(x.h_s, x.h_t),
    "Factor transfer": lambda x: G.factor_transfer_loss(x.h_s, x.h_t),
    "FSP": lambda x: G.fsp_loss((x.h_s, x.h_s), (x.h_t, x.h_t)),
    "SimKD": lambda x: G.simkd_loss(x.h_s, x.h_t),
    "SP": lambda x: G.similarity_preserving_loss(x.h_s, x.h_t),
    "RKD": lambda x: G.rkd_loss(x.h_s, x.h_t),
    "PKT": lambda x: G.pkt_loss(x.h_s, x.h_t),
    "CC": lambda x: G.correlation_congruence_loss(x.h_s, x.h_t),
    "CKA": lambda x: G.cka_loss(x.h_s, x.h_t),
    "CRD": lambda x: G.crd_loss(x.h_s, x.h_t, x.bank, x.bank),
    "FF-G2M": lambda x: G.ff_g2m_loss(x.h_s, x.h_t, x.edges),
    "KRD": lambda x: G.krd_loss(x.h_s, x.h_t, x.edges, x.h_t[:, 0].sigmoid()),
    "GKD": lambda x: G.gkd_loss(x.h_s, x.h_t, x.edges),
    "LLP": lambda x: G.llp_loss(x.h_s, x.h_t, x.context),
    "VQGraph": lambda x: G.vqgraph_loss(x.h_s, x.h_t, x.codes),
    "MuGSI": lambda x: G.mugsi_loss(x.h_s, x.h_t, None, x.clusters, x.paths),
    "TINED": lambda x: G.tined_loss((x.h_s, 2 * x.h_s.tanh()), (x.h_t, x.h_t.tanh()), x.edges),
    "FitNet on two layers": lambda x: G.layerwise_loss(
        [x.h_s, x.h_s], [x.h_t, x.h_t], G.fitnet_loss
    ),
    "KD from two teachers": lambda x: G.multi_teacher_loss(x.h_s, [x.h_t, -x.h_t], G.kd_loss),
}


def _gram(h: Tensor) -> Tensor:
    return h @ h.T


def _standard(z: Tensor) -> Tensor:
    return (z - z.mean(1, keepdim=True)) / (1e-7 + z.std(1, keepdim=True))


def _kd(z_s: Tensor, z_t: Tensor) -> Tensor:
    soft = F.log_softmax(z_s / 4, 1), F.softmax(z_t / 4, 1)
    return 16 * F.kl_div(*soft, reduction="batchmean")


def _distances(h: Tensor) -> Tensor:
    squares = h.pow(2).sum(1)
    apart = (squares[:, None] + squares - 2 * _gram(h)).clamp(min=1e-12).sqrt()
    apart = apart * (1 - torch.eye(len(h)))
    return apart / apart[apart > 0].mean()


def _angles(h: Tensor) -> Tensor:
    apart = F.normalize(h[None] - h[:, None], dim=2)
    return torch.bmm(apart, apart.transpose(1, 2))


def _shares(h: Tensor) -> Tensor:
    similar = (_gram(F.normalize(h)) + 1) / 2
    return similar / similar.sum(1, keepdim=True)


def _centred(h: Tensor) -> Tensor:
    gram = _gram(h - h.mean(0))
    return gram / gram.norm()


def _expanded(h: Tensor) -> Tensor:
    similar = 0.8 * _gram(F.normalize(h))
    return torch.e**-0.8 * (1 + similar + similar**2 / 2)


def _pkt(h_s: Tensor, h_t: Tensor) -> Tensor:
    p, q = _shares(h_s), _shares(h_t)
    return (q * torch.log((q + 1e-7) / (p + 1e-7))).sum(1).mean()


def _vid(h_s: Tensor, h_t: Tensor) -> Tensor:
    variance = F.softplus(torch.zeros(h_t.size(1))) + 1e-5
    return 0.5 * ((h_s - h_t) ** 2 / variance + variance.log()).mean()


def _ab(h_s: Tensor, h_t: Tensor) -> Tensor:
    return F.relu(1 - torch.where(h_t > 0, 1.0, -1.0) * h_s).square().sum(1).mean()


def _factors(h_s: Tensor, h_t: Tensor) -> Tensor:
    return (F.normalize(h_s) - F.normalize(h_t)).norm(p=1, dim=1).mean()


def _against(ours: Step, plain: Callable[[Tensor, Tensor], Tensor]) -> dict[str, Step]:
    return {"graphkd": ours, "plain": lambda x: plain(x.h_s, x.h_t)}


# The number of nodes that the plain form can hold, and both forms.
PLAIN: dict[str, tuple[int, dict[str, Step]]] = {
    "KD, standardised": (20_000, _against(
        STEPS["KD, standardised"], lambda s, t: _kd(_standard(s), _standard(t)))),
    "VID": (20_000, _against(STEPS["VID"], _vid)),
    "AB": (20_000, _against(STEPS["AB"], _ab)),
    "Factor transfer": (20_000, _against(STEPS["Factor transfer"], _factors)),
    "SimKD": (20_000, _against(STEPS["SimKD"], F.mse_loss)),
    "SP": (2048, _against(
        STEPS["SP"], lambda s, t: F.mse_loss(F.normalize(_gram(s)), F.normalize(_gram(t))))),
    "CKA": (2048, _against(
        STEPS["CKA"], lambda s, t: (_centred(s) - _centred(t)).square().sum() / 2)),
    "PKT": (2048, _against(STEPS["PKT"], _pkt)),
    "CC": (2048, _against(
        STEPS["CC"], lambda s, t: F.mse_loss(_expanded(s), _expanded(t)))),
    "RKD, distances": (2048, _against(
        lambda x: G.rkd_distance_loss(x.h_s, x.h_t),
        lambda s, t: F.smooth_l1_loss(_distances(s), _distances(t)))),
    "RKD, angles": (256, _against(
        lambda x: G.rkd_angle_loss(x.h_s, x.h_t),
        lambda s, t: F.smooth_l1_loss(_angles(s), _angles(t)))),
}  # fmt: skip
