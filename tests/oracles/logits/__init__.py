"""The oracles of the losses on logits."""
