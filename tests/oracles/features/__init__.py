"""The oracles of the losses on features."""
