"""A graph of papers and authors, the rows of two models, and losses for them."""

import torch

from graphkd import FitNetLoss, GCRDLoss, HeteroLoss, LSPLoss, WeightedSum

WRITES, CITES = ("author", "writes", "paper"), ("paper", "cites", "paper")
WRITTEN = ("paper", "rev_writes", "author")
METADATA = (["paper", "author"], [WRITES, CITES, WRITTEN])
SIZES = {"paper": 20, "author": 12}


def edges(src: str, dst: str, count: int) -> torch.Tensor:
    return torch.stack([torch.randint(SIZES[src], (count,)), torch.randint(SIZES[dst], (count,))])


def inputs(dtype: torch.dtype = torch.float32) -> tuple[dict, dict, dict]:
    h_s = {k: torch.randn(n, 4, dtype=dtype, requires_grad=True) for k, n in SIZES.items()}
    h_t = {k: torch.randn(n, 6, dtype=dtype) for k, n in SIZES.items()}
    writes = edges("author", "paper", 50)
    return h_s, h_t, {WRITES: writes, CITES: edges("paper", "paper", 60), WRITTEN: writes.flip(0)}


def everything() -> HeteroLoss:
    return HeteroLoss(
        {
            "paper": {"gcrd": (0.5, GCRDLoss(4, 6, 3)), "fit": (3, FitNetLoss(4, 6))},
            "author": (0.5, GCRDLoss(4, 6, 3)),
            WRITES: (10.0, LSPLoss()),
            CITES: WeightedSum(lsp=(2.0, LSPLoss("l2")), gcn=(1.0, GCRDLoss(4, 6, 3, head="gcn"))),
        }
    )
