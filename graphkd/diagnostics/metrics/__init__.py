"""The measures as torchmetrics Metrics, which stream over batches and ranks.

Each stands in the file of its function's name. What a Metric keeps between batches is float64
moments, sums, or the rows themselves. So a set gets its value in any split into batches and ranks,
some of which may be empty.
"""

from graphkd.diagnostics.metrics.alignment import LinearCKA, ProcrustesDisparity
from graphkd.diagnostics.metrics.neighbours import NeighbourOverlap, SecondOrderCosine
from graphkd.diagnostics.metrics.predictions import Agreement
from graphkd.diagnostics.metrics.structure import (
    GlobalStructureCorrelation,
    LocalStructureCorrelation,
)

__all__ = [
    "Agreement",
    "GlobalStructureCorrelation",
    "LinearCKA",
    "LocalStructureCorrelation",
    "NeighbourOverlap",
    "ProcrustesDisparity",
    "SecondOrderCosine",
]
