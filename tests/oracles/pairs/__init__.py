"""The oracles of the losses on pairs of nodes."""
