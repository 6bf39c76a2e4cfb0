"""The losses as stateless functions: checks, precision, formula.

Each has a Module of the same name (``gcrd_loss`` and ``GCRDLoss``) with the same options.
"""

from graphkd.functional.activation_boundaries import ab_loss
from graphkd.functional.cka import cka_loss
from graphkd.functional.contrastive import gcrd_loss
from graphkd.functional.correlation_congruence import correlation_congruence_loss
from graphkd.functional.crd import crd_loss
from graphkd.functional.dist import dist_loss
from graphkd.functional.dkd import dkd_loss
from graphkd.functional.factor_transfer import factor_transfer_loss
from graphkd.functional.features import attention_transfer_loss, fitnet_loss
from graphkd.functional.ff_g2m import ff_g2m_loss
from graphkd.functional.frequencies import high_frequency_loss, low_frequency_loss
from graphkd.functional.fsp import fsp_loss
from graphkd.functional.gkd import gkd_loss
from graphkd.functional.global_structure import global_lsp_loss
from graphkd.functional.krd import krd_loss
from graphkd.functional.layerwise import layerwise_loss
from graphkd.functional.link_scores import llp_distribution_loss, llp_rank_loss
from graphkd.functional.llp import llp_loss
from graphkd.functional.local_structure import lsp_loss
from graphkd.functional.logits import kd_loss
from graphkd.functional.mugsi import mugsi_loss
from graphkd.functional.multi_teacher import multi_teacher_loss
from graphkd.functional.nst import nst_loss
from graphkd.functional.pkt import pkt_loss
from graphkd.functional.reliability import fit_reliability_power, measure_reliability
from graphkd.functional.rkd import rkd_angle_loss, rkd_distance_loss, rkd_loss
from graphkd.functional.similarity_preserving import similarity_preserving_loss
from graphkd.functional.simkd import simkd_loss
from graphkd.functional.teacher_side import precompute_global_lsp, precompute_lsp
from graphkd.functional.tined import dirichlet_energy, tined_loss
from graphkd.functional.vid import vid_loss
from graphkd.functional.vqgraph import vqgraph_loss
from graphkd.functional.walks import link_context, random_walks

__all__ = [
    "ab_loss",
    "attention_transfer_loss",
    "cka_loss",
    "correlation_congruence_loss",
    "crd_loss",
    "dirichlet_energy",
    "dist_loss",
    "dkd_loss",
    "factor_transfer_loss",
    "ff_g2m_loss",
    "fit_reliability_power",
    "fitnet_loss",
    "fsp_loss",
    "gcrd_loss",
    "gkd_loss",
    "global_lsp_loss",
    "high_frequency_loss",
    "kd_loss",
    "krd_loss",
    "layerwise_loss",
    "link_context",
    "llp_distribution_loss",
    "llp_loss",
    "llp_rank_loss",
    "low_frequency_loss",
    "lsp_loss",
    "measure_reliability",
    "mugsi_loss",
    "multi_teacher_loss",
    "nst_loss",
    "pkt_loss",
    "precompute_global_lsp",
    "precompute_lsp",
    "random_walks",
    "rkd_angle_loss",
    "rkd_distance_loss",
    "rkd_loss",
    "similarity_preserving_loss",
    "simkd_loss",
    "tined_loss",
    "vid_loss",
    "vqgraph_loss",
]
