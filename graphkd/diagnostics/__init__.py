"""How alike two representations are; what ails a run.

The functions need torch alone. The Metrics need the extra ``graphkd[metrics]``, which is imported
when one of them is asked for.
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

# Where the names lie that need an extra.
_LAZY = {
    "metrics": (
        "Agreement",
        "GlobalStructureCorrelation",
        "LinearCKA",
        "LocalStructureCorrelation",
        "NeighbourOverlap",
        "ProcrustesDisparity",
        "SecondOrderCosine",
    ),
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import a name that needs an extra."""
        for file, names in _LAZY.items():
            if name in names:
                try:
                    module = importlib.import_module(f"graphkd.diagnostics.{file}")
                except ModuleNotFoundError as error:
                    raise ImportError(
                        f"graphkd.diagnostics.{name} needs {error.name}, which is not installed. "
                        "Install the extra: pip install 'graphkd[metrics]'."
                    ) from error
                return getattr(module, name)
        raise AttributeError(f"module 'graphkd.diagnostics' has no attribute {name!r}")
