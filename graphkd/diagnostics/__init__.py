"""How alike two representations are; what ails a run.

The measures and the doctor need torch alone. The Metrics and the pictures need the extra
``graphkd[metrics]``, which is imported when one of them is asked for.
"""

import importlib
from typing import TYPE_CHECKING

from graphkd.diagnostics.alignment import linear_cka, procrustes_disparity
from graphkd.diagnostics.doctor import Doctor
from graphkd.diagnostics.neighbours import neighbour_overlap, second_order_cosine
from graphkd.diagnostics.permutation import PermutationTest, permutation_test
from graphkd.diagnostics.plots import (
    plot_agreement,
    plot_embeddings,
    plot_layers,
    plot_null,
    plot_preservation,
)
from graphkd.diagnostics.predictions import agreement
from graphkd.diagnostics.structure import (
    global_structure_correlation,
    local_structure_correlation,
)

if TYPE_CHECKING:
    from graphkd.diagnostics.metrics import (
        Agreement,
        GlobalStructureCorrelation,
        LinearCKA,
        LocalStructureCorrelation,
        NeighbourOverlap,
        ProcrustesDisparity,
        SecondOrderCosine,
    )

__all__ = [
    "Agreement",
    "Doctor",
    "GlobalStructureCorrelation",
    "LinearCKA",
    "LocalStructureCorrelation",
    "NeighbourOverlap",
    "PermutationTest",
    "ProcrustesDisparity",
    "SecondOrderCosine",
    "agreement",
    "global_structure_correlation",
    "linear_cka",
    "local_structure_correlation",
    "neighbour_overlap",
    "permutation_test",
    "plot_agreement",
    "plot_embeddings",
    "plot_layers",
    "plot_null",
    "plot_preservation",
    "procrustes_disparity",
    "second_order_cosine",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import the Metrics, whose names are all that is missing here."""
        if name not in __all__:
            raise AttributeError(f"module 'graphkd.diagnostics' has no attribute {name!r}")
        try:
            metrics = importlib.import_module("graphkd.diagnostics.metrics")
        except ModuleNotFoundError as error:
            raise ImportError(
                f"graphkd.diagnostics.{name} needs {error.name}, which is not installed. "
                "Install the extra: pip install 'graphkd[metrics]'."
            ) from error
        return getattr(metrics, name)
