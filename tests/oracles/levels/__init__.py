"""The oracles of the losses on what is coarser than a node."""
