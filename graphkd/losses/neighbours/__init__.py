"""Losses along the edges of the graph: a node against its neighbours."""
