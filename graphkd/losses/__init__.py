"""The losses as Modules: they hold options and heads, and call :mod:`graphkd.functional`."""

from graphkd.losses.activation_boundaries import ABLoss
from graphkd.losses.cka import CKALoss
from graphkd.losses.contrastive import GCRDLoss
from graphkd.losses.correlation_congruence import CorrelationCongruenceLoss
from graphkd.losses.crd import CRDLoss
from graphkd.losses.dist import DISTLoss
from graphkd.losses.dkd import DKDLoss
from graphkd.losses.factor_transfer import FactorTransferLoss
from graphkd.losses.features import AttentionTransferLoss, FitNetLoss
from graphkd.losses.ff_g2m import FFG2MLoss
from graphkd.losses.fsp import FSPLoss
from graphkd.losses.gkd import GKDLoss
from graphkd.losses.global_structure import GlobalLSPLoss
from graphkd.losses.hetero import HeteroLoss
from graphkd.losses.krd import KRDLoss
from graphkd.losses.layerwise import LayerwiseLoss
from graphkd.losses.llp import LLPLoss
from graphkd.losses.local_structure import LSPLoss
from graphkd.losses.logits import KDLoss
from graphkd.losses.mugsi import MuGSILoss
from graphkd.losses.multi_teacher import MultiTeacherLoss
from graphkd.losses.nst import NSTLoss
from graphkd.losses.pkt import PKTLoss
from graphkd.losses.rkd import RKDLoss
from graphkd.losses.similarity_preserving import SimilarityPreservingLoss
from graphkd.losses.simkd import SimKDLoss
from graphkd.losses.tined import TINEDLoss
from graphkd.losses.vid import VIDLoss
from graphkd.losses.vqgraph import VQGraphLoss
from graphkd.losses.weighted import WeightedSum

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
