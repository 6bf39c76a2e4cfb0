"""The contract rows of the losses on structures coarser than a node."""
