"""The oracles of the contrastive losses."""
