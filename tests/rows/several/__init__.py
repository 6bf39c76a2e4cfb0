"""The contract rows of the sums over layers and over teachers."""
