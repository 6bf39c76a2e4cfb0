"""Losses on what is coarser than a node: layers, codes, contexts, clusters and graphs."""
