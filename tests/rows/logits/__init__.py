"""The contract rows of the losses on logits."""
