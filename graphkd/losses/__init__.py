"""The losses as Modules: they hold options and heads, and call :mod:`graphkd.functional`."""

from graphkd.losses.contrastive import GCRDLoss
from graphkd.losses.features import AttentionTransferLoss, FitNetLoss
from graphkd.losses.global_structure import GlobalLSPLoss
from graphkd.losses.hetero import HeteroLoss
from graphkd.losses.local_structure import LSPLoss
from graphkd.losses.logits import KDLoss
from graphkd.losses.weighted import WeightedSum

__all__ = [
    "AttentionTransferLoss",
    "FitNetLoss",
    "GCRDLoss",
    "GlobalLSPLoss",
    "HeteroLoss",
    "KDLoss",
    "LSPLoss",
    "WeightedSum",
]
