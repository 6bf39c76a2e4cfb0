"""The oracles of the losses on structures coarser than a node."""
