"""Sums of losses: over layers, teachers and node types, and weighted sums."""
