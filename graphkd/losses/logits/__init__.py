"""Losses on logits: the predictions for a node."""
