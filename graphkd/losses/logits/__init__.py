"""Losses on logits: what a node is predicted to be."""
