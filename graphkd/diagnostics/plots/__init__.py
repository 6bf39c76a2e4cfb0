"""Pictures of the measures, one a file. Each returns its axes; matplotlib is imported on call."""

from graphkd.diagnostics.plots.agreement import plot_agreement
from graphkd.diagnostics.plots.embeddings import plot_embeddings
from graphkd.diagnostics.plots.layers import plot_layers
from graphkd.diagnostics.plots.null import plot_null
from graphkd.diagnostics.plots.preservation import plot_preservation

__all__ = [
    "plot_agreement",
    "plot_embeddings",
    "plot_layers",
    "plot_null",
    "plot_preservation",
]
