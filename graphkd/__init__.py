"""Knowledge-distillation losses for graph neural networks.

>>> import torch, graphkd
>>> distill = graphkd.GCRDLoss(dim_s=64, dim_t=256)
>>> loss = distill(torch.randn(100, 64, requires_grad=True), torch.randn(100, 256))
>>> loss.requires_grad
True
"""

from graphkd import functional
from graphkd.graph import Graph
from graphkd.losses import (
    ABLoss,
    AttentionTransferLoss,
    CKALoss,
    CorrelationCongruenceLoss,
    CRDLoss,
    DISTLoss,
    DKDLoss,
    FactorTransferLoss,
    FFG2MLoss,
    FitNetLoss,
    FSPLoss,
    GCRDLoss,
    GKDLoss,
    GlobalLSPLoss,
    HeteroLoss,
    KDLoss,
    KRDLoss,
    LayerwiseLoss,
    LLPLoss,
    LSPLoss,
    MuGSILoss,
    MultiTeacherLoss,
    NSTLoss,
    PKTLoss,
    RKDLoss,
    SimilarityPreservingLoss,
    SimKDLoss,
    TINEDLoss,
    VIDLoss,
    VQGraphLoss,
    WeightedSum,
)
from graphkd.rows import rows_of
from graphkd.store import TeacherStore
from graphkd.teacher import Tap, freeze

__version__ = "0.1.0"

__all__ = [
    "ABLoss",
    "AttentionTransferLoss",
    "CKALoss",
    "CRDLoss",
    "CorrelationCongruenceLoss",
    "DISTLoss",
    "DKDLoss",
    "FFG2MLoss",
    "FSPLoss",
    "FactorTransferLoss",
    "FitNetLoss",
    "GCRDLoss",
    "GKDLoss",
    "GlobalLSPLoss",
    "Graph",
    "HeteroLoss",
    "KDLoss",
    "KRDLoss",
    "LLPLoss",
    "LSPLoss",
    "LayerwiseLoss",
    "MuGSILoss",
    "MultiTeacherLoss",
    "NSTLoss",
    "PKTLoss",
    "RKDLoss",
    "SimKDLoss",
    "SimilarityPreservingLoss",
    "TINEDLoss",
    "Tap",
    "TeacherStore",
    "VIDLoss",
    "VQGraphLoss",
    "WeightedSum",
    "__version__",
    "freeze",
    "functional",
    "rows_of",
]
