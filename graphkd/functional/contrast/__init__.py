"""Contrastive losses: a node's own row against the rows of the others, across the models."""
