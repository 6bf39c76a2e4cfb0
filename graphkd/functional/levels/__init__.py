"""Losses on structures above single nodes: layers, codes, contexts, clusters and graphs."""
