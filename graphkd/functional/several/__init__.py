"""Sums of losses: over layers and over teachers."""
