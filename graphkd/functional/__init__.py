"""The losses as stateless functions: checks, precision, formula.

Each has a Module of the same name (``gcrd_loss`` and ``GCRDLoss``) with the same options.
"""

from graphkd.functional.contrastive import gcrd_loss
from graphkd.functional.features import attention_transfer_loss, fitnet_loss
from graphkd.functional.global_structure import global_lsp_loss
from graphkd.functional.local_structure import lsp_loss
from graphkd.functional.logits import kd_loss
from graphkd.functional.teacher_side import precompute_global_lsp, precompute_lsp

__all__ = [
    "attention_transfer_loss",
    "fitnet_loss",
    "gcrd_loss",
    "global_lsp_loss",
    "kd_loss",
    "lsp_loss",
    "precompute_global_lsp",
    "precompute_lsp",
]
