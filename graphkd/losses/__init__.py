"""The losses as Modules: they hold options and heads, and call :mod:`graphkd.functional`."""

from graphkd.losses.contrast.crd import CRDLoss
from graphkd.losses.contrast.gcrd import GCRDLoss
from graphkd.losses.features.activation_boundaries import ABLoss
from graphkd.losses.features.attention_transfer import AttentionTransferLoss
from graphkd.losses.features.factor_transfer import FactorTransferLoss
from graphkd.losses.features.fitnet import FitNetLoss
from graphkd.losses.features.fsp import FSPLoss
from graphkd.losses.features.nst import NSTLoss
from graphkd.losses.features.simkd import SimKDLoss
from graphkd.losses.features.vid import VIDLoss
from graphkd.losses.levels.llp import LLPLoss
from graphkd.losses.levels.mugsi import MuGSILoss
from graphkd.losses.levels.tined import TINEDLoss
from graphkd.losses.levels.vqgraph import VQGraphLoss
from graphkd.losses.logits.dist import DISTLoss
from graphkd.losses.logits.dkd import DKDLoss
from graphkd.losses.logits.kd import KDLoss
from graphkd.losses.neighbours.ff_g2m import FFG2MLoss
from graphkd.losses.neighbours.gkd import GKDLoss
from graphkd.losses.neighbours.krd import KRDLoss
from graphkd.losses.neighbours.lsp import LSPLoss
from graphkd.losses.pairs.cka import CKALoss
from graphkd.losses.pairs.correlation_congruence import CorrelationCongruenceLoss
from graphkd.losses.pairs.global_lsp import GlobalLSPLoss
from graphkd.losses.pairs.pkt import PKTLoss
from graphkd.losses.pairs.rkd import RKDLoss
from graphkd.losses.pairs.similarity_preserving import SimilarityPreservingLoss
from graphkd.losses.several.hetero import HeteroLoss
from graphkd.losses.several.layerwise import LayerwiseLoss
from graphkd.losses.several.multi_teacher import MultiTeacherLoss
from graphkd.losses.several.weighted import WeightedSum

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
    "VIDLoss",
    "VQGraphLoss",
    "WeightedSum",
]

# A pickle names a class by its module: this name stays when a file moves.
for _name in __all__:
    globals()[_name].__module__ = "graphkd"
