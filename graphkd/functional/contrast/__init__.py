"""Contrastive losses: a node's own row in the other model against the rows of other nodes."""
