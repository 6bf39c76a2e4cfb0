"""Losses that compare a node's features with the same node's, across the models."""
