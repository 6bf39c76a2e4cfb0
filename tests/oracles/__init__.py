"""Every loss again, the obvious way: loops, float64, nothing shared with the package."""

from tests.oracles.core import (
    attention_transfer,
    fitnet,
    gcrd,
    global_lsp,
    kd,
    lsp,
    similarity,
    unit,
)

__all__ = [
    "attention_transfer",
    "fitnet",
    "gcrd",
    "global_lsp",
    "kd",
    "lsp",
    "similarity",
    "unit",
]
