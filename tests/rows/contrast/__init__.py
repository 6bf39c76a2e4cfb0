"""The contract rows of the contrastive losses."""
