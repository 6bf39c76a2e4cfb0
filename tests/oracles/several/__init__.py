"""The oracles of the sums over layers and over teachers."""
