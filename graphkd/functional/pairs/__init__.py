"""Losses on the similarities of all pairs of nodes, within each model."""
