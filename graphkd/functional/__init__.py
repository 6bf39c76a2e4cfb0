"""The losses as stateless functions: check, gate, formula, reduction.

A loss that holds options or heads has a Module, with the same options: ``gcrd_loss`` and
``GCRDLoss``. Parts of a loss, such as ``rkd_angle_loss``, and what goes into a loss, such as
``random_walks``, are functions alone.
"""

from graphkd.functional.contrast.crd import crd_loss
from graphkd.functional.contrast.gcrd import gcrd_loss
from graphkd.functional.features.activation_boundaries import ab_loss
from graphkd.functional.features.attention_transfer import attention_transfer_loss
from graphkd.functional.features.factor_transfer import factor_transfer_loss
from graphkd.functional.features.fitnet import fitnet_loss
from graphkd.functional.features.fsp import fsp_loss
from graphkd.functional.features.nst import nst_loss
from graphkd.functional.features.simkd import simkd_loss
from graphkd.functional.features.vid import vid_loss
from graphkd.functional.levels.llp import llp_distribution_loss, llp_loss, llp_rank_loss
from graphkd.functional.levels.mugsi import mugsi_loss
from graphkd.functional.levels.tined import dirichlet_energy, tined_loss
from graphkd.functional.levels.vqgraph import vqgraph_loss
from graphkd.functional.levels.walks import link_context, random_walks
from graphkd.functional.logits.dist import dist_loss
from graphkd.functional.logits.dkd import dkd_loss
from graphkd.functional.logits.kd import kd_loss
from graphkd.functional.neighbours.ff_g2m import (
    ff_g2m_loss,
    high_frequency_loss,
    low_frequency_loss,
)
from graphkd.functional.neighbours.gkd import gkd_loss
from graphkd.functional.neighbours.krd import krd_loss
from graphkd.functional.neighbours.lsp import lsp_loss, precompute_lsp
from graphkd.functional.neighbours.reliability import fit_reliability_power, measure_reliability
from graphkd.functional.pairs.cka import cka_loss
from graphkd.functional.pairs.correlation_congruence import correlation_congruence_loss
from graphkd.functional.pairs.global_lsp import global_lsp_loss, precompute_global_lsp
from graphkd.functional.pairs.pkt import pkt_loss
from graphkd.functional.pairs.rkd import rkd_angle_loss, rkd_distance_loss, rkd_loss
from graphkd.functional.pairs.similarity_preserving import similarity_preserving_loss
from graphkd.functional.several.layerwise import layerwise_loss
from graphkd.functional.several.multi_teacher import multi_teacher_loss

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
