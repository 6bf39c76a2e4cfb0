"""Knowledge-distillation losses for graph neural networks.

>>> import torch, graphkd
>>> distill = graphkd.GCRDLoss(dim_s=64, dim_t=256)
>>> loss = distill(torch.randn(100, 64, requires_grad=True), torch.randn(100, 256))
>>> loss.requires_grad
True
"""

import importlib
from typing import TYPE_CHECKING

from graphkd import functional, losses, weights
from graphkd.graph import Graph
from graphkd.losses import *
from graphkd.rows import rows_of
from graphkd.store import TeacherStore
from graphkd.tap import Tap
from graphkd.teacher import freeze

if TYPE_CHECKING:
    from graphkd import diagnostics

__version__ = "0.1.0"

# The names of the losses stand once, in graphkd.losses.
__all__ = [
    *losses.__all__,
    "Graph",
    "Tap",
    "TeacherStore",
    "__version__",
    "diagnostics",
    "freeze",
    "functional",
    "rows_of",
    "weights",
]


# What few programs need is imported when it is asked for.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name == "diagnostics":
            return importlib.import_module("graphkd.diagnostics")
        raise AttributeError(f"module 'graphkd' has no attribute {name!r}")
