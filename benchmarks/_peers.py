"""The type of a contender, and the contenders of other packages, which give G-CRD's value."""

import importlib.util
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import naive
import torch
import torch.nn.functional as F
from torch import Tensor

import graphkd

Forward = Callable[[], Tensor]


class Size(NamedTuple):
    n: int
    d: int
    edges: int = 0


@dataclass(frozen=True)
class Inputs:
    h_s: Tensor
    h_t: Tensor
    edge_index: Tensor | None = None
    graph: graphkd.Graph | None = None

    @property
    def plain(self) -> tuple[Tensor, ...]:
        """The arguments of the naive form."""
        pair = (self.h_s, self.h_t)
        return pair if self.edge_index is None else (*pair, self.edge_index)


class Contender(NamedTuple):
    prepare: Callable[[Inputs], Forward]
    """Does what is done once per training, and gives what is done once per step."""
    needs: Callable[[Size], float] = lambda size: 0.0
    """About how many bytes it takes, so as not to start what cannot end."""
    most: float = math.inf
    """The largest N worth the wait."""
    package: str = ""
    """What has to be installed."""
    cuda_only: bool = False


def dense(size: Size) -> float:
    return 24 * size.n**2


def _pairs_by_triples(size: Size) -> float:
    return 16 * size.n**3


def _ntxent(x: Inputs) -> Forward:
    from pytorch_metric_learning.losses import NTXentLoss

    return _metric_learning(NTXentLoss, x)


def _supcon(x: Inputs) -> Forward:
    from pytorch_metric_learning.losses import SupConLoss

    return _metric_learning(SupConLoss, x)


def _metric_learning(kind: Any, x: Inputs) -> Forward:
    """Teacher rows as the reference embeddings: one positive per student row, as in G-CRD."""
    loss = kind(temperature=naive.TEMPERATURE)
    labels = torch.arange(len(x.h_s), device=x.h_s.device)
    # If both labels were the same tensor, a row would not be its own positive.
    teacher_labels = labels.clone()
    return lambda: loss(x.h_s, labels, ref_emb=x.h_t, ref_labels=teacher_labels)


def _info_nce(x: Inputs) -> Forward:
    from info_nce import InfoNCE

    loss = InfoNCE(temperature=naive.TEMPERATURE)
    return lambda: loss(x.h_s, x.h_t)


def _inf_cl(x: Inputs) -> Forward:
    from inf_cl import cal_flash_loss

    return lambda: cal_flash_loss(
        F.normalize(x.h_s), F.normalize(x.h_t), scale=1 / naive.TEMPERATURE, head_dim=x.h_s.size(1)
    ).mean()


INFO_NCE = {"info-nce-pytorch": Contender(_info_nce, dense, 8192, "info_nce")}
METRIC_LEARNING = {
    "SupConLoss": Contender(_supcon, dense, 2048, "pytorch_metric_learning"),
    "NTXentLoss": Contender(_ntxent, _pairs_by_triples, 256, "pytorch_metric_learning"),
}
INF_CL = {"inf-cl": Contender(_inf_cl, package="inf_cl", cuda_only=True)}
PACKAGES = {"info_nce": "info-nce-pytorch", "pytorch_metric_learning": "pytorch-metric-learning",
            "inf_cl": "inf-cl", "triton": "triton", "torch_scatter": "torch-scatter"}  # fmt: skip


def missing(contender: Contender) -> str | None:
    """Why a contender cannot run in this environment, or None."""
    package = contender.package
    if package and package not in sys.modules and importlib.util.find_spec(package) is None:
        return f"{PACKAGES[package]} is not installed"
    return None
