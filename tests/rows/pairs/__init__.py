"""The contract rows of the losses on pairs of nodes."""
